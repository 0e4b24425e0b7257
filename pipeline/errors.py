"""The error a user can cause: what was wrong, where, and what to do."""

from __future__ import annotations


class GristmillError(Exception):
    """A mistake that the user can mend; the CLI prints it without a traceback and exits with `exit_code`.

    `what` says what is wrong, `where` names the file, line or setting, `todo` says what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        super().__init__(what, where, todo)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.todo}" if self.todo else text


class Quarantine(Exception):
    """Raised while one record is read or refined: that record is set aside with this reason, the run goes on.

    `rule` is a short snake_case name for the ledger (`bad_content_encoding`), `detail` the evidence.
    """

    def __init__(self, rule: str, detail: str = "") -> None:
        self.rule, self.detail = rule, detail
        super().__init__(rule, detail)
