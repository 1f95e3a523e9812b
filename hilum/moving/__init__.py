"""Moving in: what another archive holds into this node, and whether both hold the same.

It asks the other archive as its clients do, and works with the node as a whole or through its
front door. What is said about it, and how, is for `cli`.
"""
