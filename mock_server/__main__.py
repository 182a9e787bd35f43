"""`python -m mock_server` is `genrm-mock`."""

from mock_server.cli import app

if __name__ == "__main__":
    app(prog_name="genrm-mock")
