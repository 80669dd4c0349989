"""The only part that talks to the centre's broker: outbox drain, presence, health, commands."""
