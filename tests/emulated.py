"""What can't be shown under qemu-user, and why: its own faults and ways, which no program in it can mend."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

_LIMITS = {
    "it has threads of its own, which count as processes and take numbers": [
        "test_the_first_child_in_a_new_pid_namespace_is_its_init_and_others_follow",
        "test_too_many_processes_in_the_cgroup",
    ],
    "it does not pass RLIMIT_AS on": ["test_no_memory_for_the_arguments"],
    "it makes the child though there is no file left for its pidfd": [
        "test_a_table_without_room_for_the_pidfd_is_an_error_that_leaves_no_pipe",
        "test_no_file_descriptor_left",
    ],
    "it has no SIGRTMAX, and /proc shows its own handlers": [
        "test_no_handler_of_the_parent_ever_runs_in_the_child",
        "test_the_programs_signals_are_what_the_plan_says",
        "test_the_returncode_is_the_exit_status_or_minus_the_signal",
    ],
    "its /proc/self/stat tells no session": [
        "test_a_plan_that_says_nothing_makes_a_session_and_changes_nothing_else",
    ],
    "it knows no child without an exit signal, so the middle one has SIGCHLD": [
        "test_no_sigchld_and_no_child_for_another_threads_wait",
    ],
}
REASONS = {name: reason for reason, names in _LIMITS.items() for name in names}


def mark(items: Iterable[pytest.Item]) -> None:
    """Have these tests skipped, each with its reason."""
    for item in items:
        if reason := REASONS.get(item.name.partition("[")[0]):
            item.add_marker(pytest.mark.skip(f"qemu-user: {reason}"))
