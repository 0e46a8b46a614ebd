"""How modules are shown: as text, as a tree with counts, as a table, and in a notebook."""
