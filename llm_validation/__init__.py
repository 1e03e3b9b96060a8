"""The predictions checked on a language model that is really trained. Nothing has been run yet: see `__main__`."""
