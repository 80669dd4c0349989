"""The recipe of a box's system; see build.py."""
