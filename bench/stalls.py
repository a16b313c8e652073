"""Whether the machine itself stood still, as a virtual one does when its host is busy."""

import mmap
import os
import time

# No peer can keep a real-time process waiting for that long; the host of a virtual machine does.
LATE_SECONDS = 0.005
SLEEP_SECONDS = 0.005


class Stalls:
    """A real-time process on each processor, which sleeps and counts how often it woke late.

    They end with the namespace of bench/run. Where the kernel allows none, nothing is counted.
    """

    def __init__(self):
        processors = sorted(os.sched_getaffinity(0))
        self.counts = memoryview(mmap.mmap(-1, 8 * len(processors))).cast("Q")
        self.watched = True
        for number, processor in enumerate(processors):
            begun, ready = os.pipe()
            if os.fork() == 0:
                self.watch(processor, number, ready)
            os.close(ready)
            self.watched &= os.read(begun, 1) == b"y"
            os.close(begun)

    def count(self):
        """How often the machine stood still so far."""
        return sum(self.counts)

    def watch(self, processor, number, ready):
        try:
            os.sched_setaffinity(0, [processor])
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            os.write(ready, b"y")
        except OSError:
            os._exit(0)
        while True:
            begin = time.monotonic()
            time.sleep(SLEEP_SECONDS)
            if time.monotonic() - begin > SLEEP_SECONDS + LATE_SECONDS:
                self.counts[number] += 1
