"""What the tests hold in their hands: the bench, its two backends and the centre."""
