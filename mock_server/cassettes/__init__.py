"""Record what a real server answers, and answer with that again."""
