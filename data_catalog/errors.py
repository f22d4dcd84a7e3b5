"""What can be wrong with a file that a user gave us."""


class BadVideo(Exception):
    """A video, image folder or stored frame that cannot be read; no retry will mend it.

    Args:
        reason: one plain sentence naming the file and what is wrong with it.
        remedy: what the user can do about it, as an imperative sentence.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} {remedy}")
        self.reason = reason
        self.remedy = remedy
