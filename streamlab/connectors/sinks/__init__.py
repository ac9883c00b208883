"""The built-in sinks: folders of files, and a user's function."""
