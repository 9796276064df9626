"""Reports: text for people, JSON and other formats for tools."""
