"""Hardware-in-the-loop tests: one box, virtual or real, with a centre around it."""
