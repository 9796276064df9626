"""Rules as data: reading YAML, checking it, compiling it to the intermediate form."""
