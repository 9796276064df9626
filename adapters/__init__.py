"""What mends: one kind of fix a module; also the run-time library that an app imports."""
