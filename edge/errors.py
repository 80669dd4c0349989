"""One tree of errors. Each leaf is also an instance of the standard type it is."""


class EdgeError(Exception):
    """Base of everything this package raises on purpose; its text tells a person what to do."""


class ConfigError(EdgeError, ValueError):
    """The configuration file is missing, not TOML, or holds a key or value that is not allowed."""


class Refused(EdgeError, ValueError):
    """A message from outside was not accepted. The text is the reason that goes back to the sender."""


class StoreError(EdgeError, OSError):
    """A store on disk could not be opened, written or read."""


class DriverError(EdgeError, OSError):
    """A piece of hardware, or its driver, is absent, busy or failing."""


class BusError(EdgeError, OSError):
    """The socket directory of the bus cannot be used."""


class ClockError(EdgeError, OSError):
    """The system clock could not be read or set."""


class Unauthorised(EdgeError, PermissionError):
    """The actor may not do this at the desk."""


class NotFound(EdgeError, LookupError):
    """No such incident, box or alert."""


class Conflict(EdgeError, RuntimeError):
    """The act does not fit the state the incident is in."""


class SetupFailed(EdgeError, RuntimeError):
    """A process of the demo, a test stack or a bench did not come up."""


class DeskBusy(EdgeError, TimeoutError):
    """The desk's store has not answered in time; what was done is not saved yet."""


class CertificateError(EdgeError, ValueError):
    """A certificate file holds no certificate that can be understood."""


class MissingPackage(EdgeError, ModuleNotFoundError):
    """A Python package that a subcommand needs is not installed on this machine."""
