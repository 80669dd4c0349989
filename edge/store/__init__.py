"""What is kept: the press journal (written by callbox), the outbox (by uplink), and the checker of both."""
