"""Puts the parts together: which adapter stands behind which port.

Each function has a module here, with the class of its services, and imports no other function's.
"""
