"""Tests inside the real verl and Ray; run by `nox -s verl`."""
