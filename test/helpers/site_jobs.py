"""Jobs whose workers die, where other processes can import them."""

import os
import signal
from pathlib import Path

from vloc_models.mapping.build_map import Report
from vloc_models.mapping.site_job import Outcome, map_site
from vloc_models.mapping.sites import Site


def mark(site: Site) -> Path:
    """Tells of a worker that was killed, and at which step the next one went on."""
    return site.out.with_name(f'{site.name}.killed')


def killed_once(site: Site, report: Report) -> Outcome:
    """Its first worker is killed by the kernel in the middle of the first training."""

    def dies(step: str, done: int, total: int) -> None:
        report(step, done, total)
        if step != 'training':
            return
        if mark(site).exists() and not mark(site).read_text():
            mark(site).write_text(str(done))
        elif not mark(site).exists() and done == total // 2:
            mark(site).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return map_site(site, dies)


def always_killed(site: Site, report: Report) -> Outcome:
    """No worker survives it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError('survived')
