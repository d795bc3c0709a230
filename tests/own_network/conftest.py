"""tiny_env.py is a user's module, imported by name; collecting it for doctests would register its id twice."""

collect_ignore = ["tiny_env.py"]
