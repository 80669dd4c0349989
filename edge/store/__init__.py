"""What is kept: the press journal (callbox writes it), the outbox (uplink writes it), and the checker of both."""
