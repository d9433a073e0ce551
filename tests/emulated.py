"""What can't be shown under qemu-user, and why: its own faults and ways, which no program in it can mend.

A name with a bracket stands for the parameters that begin so, one without for all.
"""

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
    # posix_spawn, as xdist's start, leaves libc's 32 and 33 ignored, which have other numbers outside.
    "it has no SIGRTMAX, and /proc shows its own handlers and numbers": [
        "test_ignored_sigchld_stays_ignored",
        "test_it_has_no_files_but_those_that_were_given_and_the_default_signals",
        "test_no_handler_of_the_parent_ever_runs_in_the_child",
        "test_the_programs_signals_are_what_the_plan_says",
        "test_the_returncode_is_the_exit_status_or_minus_the_signal",
        "test_a_signal_that_ends_it_is_a_negative_returncode[64-",
        "test_restore_signals_is_about_what_python_ignores",
    ],
    "its /proc/self/stat tells no session": [
        "test_a_plan_that_says_nothing_makes_a_session_and_changes_nothing_else",
    ],
    "it knows no child without an exit signal, so the middle one has SIGCHLD": [
        "test_no_sigchld_and_no_child_for_another_threads_wait",
    ],
    # glibc's vforked child reports into memory that it believes shared. With `setup`, which is ours, the error arrives.
    "its posix_spawn, the standard class's, tells of no failed exec": [
        "test_a_path_like_program_is_named_in_the_error[standard",
        "test_a_path_like_program_is_named_in_the_error[ours",
        "test_a_program_that_can_not_run_is_the_same_with_all_files_left_open[standard",
        "test_a_program_that_can_not_run_is_the_same_with_all_files_left_open[ours",
        "test_an_argument_list_too_long_is_an_oserror_with_the_programs_name[standard",
        "test_an_argument_list_too_long_is_an_oserror_with_the_programs_name[ours",
        "test_run_and_check_output_do_the_same[run-(['/no/such'],)",
        "test_run_and_check_output_do_the_same[check_output-(['/no/such'],)",
        "test_call_and_check_call_do_the_same[call-(['/no/such'],)",
        "test_call_and_check_call_do_the_same[check_call-(['/no/such'],)",
        "test_the_auditing_event_is_the_same",
        "test_the_interpreters_exit_says_the_same[failed-dev",
    ],
}
_REASONS = {name if "[" in name else f"{name}[": reason for reason, names in _LIMITS.items() for name in names}


def mark(items: Iterable[pytest.Item]) -> None:
    """Have these tests skipped, each with its reason."""
    for item in items:
        for name, reason in _REASONS.items():
            if f"{item.name}[".startswith(name):
                item.add_marker(pytest.mark.skip(f"qemu-user: {reason}"))
