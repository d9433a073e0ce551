"""Which of these processes are in one session? Missing ones and forbidden ones are told apart.

python 08_compare_sessions.py PID...
"""

from __future__ import annotations

import os
import sys

import setsid

sessions: dict[int, list[str]] = {}
for argument in sys.argv[1:] or [str(os.getpid()), "1"]:
    try:
        sessions.setdefault(setsid.getsid(int(argument)), []).append(argument)
    except ProcessLookupError as error:
        print(f"missing: {argument}: {error}")
    except PermissionError as error:  # Linux asks its security modules; other systems may refuse by themselves
        print(f"forbidden: {argument}: {error}")
    except (ValueError, OverflowError) as error:
        sys.exit(f"{argument} is no pid: {error}")

for sid, pids in sorted(sessions.items()):
    name = f"session {sid}" if sid else "a session of another pid namespace"
    print(f"{name}: {' '.join(pids)}")
