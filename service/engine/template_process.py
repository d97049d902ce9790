"""Starts a template process. Imports little, so that it can run before the service is imported."""

import os
import socket
import subprocess
from dataclasses import dataclass

from service.core.processes import module_command

_ENVIRONMENT = {
    "GOMP_SPINCOUNT": "1000",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_HOME": os.devnull,
}
"""OpenMP's threads would else spin 300 times longer for each other; with one processor taken by
something else, a forward was measured to take 5 to 40 times longer (docs/decisions/0004).
TensorFlow's core would else tell in several lines what processors it found, and as an error that it
found no GPU; it imports Keras, which
would write a settings file into the user's home, and read there what changes a model's numbers."""


@dataclass(frozen=True, slots=True)
class TemplateProcess:
    """A template process that is importing its framework, or has done so.

    Attributes:
        control: our end of its control socket; closing it ends the process.
    """

    framework: str
    control: socket.socket
    process: "subprocess.Popen[bytes]"

    def end(self) -> None:
        """End it at once; nothing if it has ended."""
        self.control.close()
        self.process.kill()
        self.process.wait()


def start_template(framework: str) -> TemplateProcess:
    """Start the template of a framework, in a session of its own: Ctrl-C is not for it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs:
        process = subprocess.Popen(
            module_command("service.worker", framework, str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,
        )
    return TemplateProcess(framework, ours, process)
