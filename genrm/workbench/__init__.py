"""The tools around the core. The only place in genrm that may start a mock."""
