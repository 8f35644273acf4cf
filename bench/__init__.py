"""Measurements that stand behind the claims of the documentation; run by hand, each a module of its own."""
