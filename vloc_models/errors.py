"""The exceptions a user may meet. Every one says what is wrong, where, and what to do about it."""


class VlocError(Exception):
    """Something a user, a file, a message or a map got wrong; commands print it as one line.

    Args:
        what: the fault and the place it was found, e.g. "run1.mcap: no sensor_msgs/Image topic".
        fix: what the user can do, e.g. "record the camera too, or name the topic with --image".
    """

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = ' '.join(what.split()), ' '.join(fix.split())
        super().__init__(f'{self.what}; {self.fix}')

    def __reduce__(self) -> tuple[type['VlocError'], tuple[str, str]]:
        """Both parts survive the way back from a worker process."""
        return type(self), (self.what, self.fix)


class BagError(VlocError):
    """A recording, or a message in it, that cannot be used."""


class MapError(VlocError):
    """A map folder that cannot be read, trusted or written."""


class SolveError(VlocError):
    """A pose problem that is wrongly put (not one without a solution: that is no error)."""


class ExportError(VlocError):
    """A network that cannot be exported, or whose export disagrees with it."""
