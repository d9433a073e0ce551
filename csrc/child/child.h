/* What the parent half hands to the child, and what the child's files share. */
#ifndef SID_CHILD_H
#define SID_CHILD_H

#include "../sid.h"

/* The child's stack, and its alignment: so a signal handler finds the base, and there the state. */
enum { SIDCH_STACK_SIZE = 16 * 1024 };

/* All that a child needs. Written by the parent before the child exists; the child writes `scratch` only. */
struct sidch_job {
    const struct sid_plan *plan;
    const char *paths; /* candidates for execve, NUL-separated */
    int path_count;
    const char *const *argv;
    const char *const *envp;
    int *scratch;              /* move_count ints: where each source has been lifted to */
    uint64_t parent_mask;      /* the caller's signal mask before all were blocked */
    int handlers_reset;        /* the kernel has reset caught signals already */
    struct sid_report *report; /* where the parent reads it, if report_fd is -1 */
    int report_fd;             /* else it is written here */
};

/* What one step finds out and a later one needs. */
struct sidch_state {
    const struct sidch_job *job;
    const struct sid_plan *plan;
    struct sid_report report;
    int cwd_fd;
    int old_foreground; /* to be given the terminal back on failure; 0: nobody */
};

/* Carries out the plan and executes the program. Never returns. What clone(2) calls, on a SIDCH_STACK_SIZE stack. */
int sidch_main(void *job);

/* The steps: 0, or what sidch_fail returned. */
int sidch_process_group(struct sidch_state *);
int sidch_ctty(struct sidch_state *);
int sidch_foreground(struct sidch_state *);
int sidch_fds(struct sidch_state *);
int sidch_close_fds(struct sidch_state *);
int sidch_umask(struct sidch_state *);
int sidch_cwd(struct sidch_state *);
int sidch_signal_dispositions(struct sidch_state *);
int sidch_signal_mask(struct sidch_state *);
int sidch_exec(struct sidch_state *);

/* Tells the parent of a stop signal that did not stop the child, or of a SIGCONT that undoes it. Keeps errno. run.c */
void sidch_note_stop(struct sidch_state *, int signal);
/* Notes that `call` failed with the current errno; -errno. */
int sidch_fail(struct sidch_state *, enum sid_call call, int detail);
/* Takes the terminal back from the child's group. session.c */
void sidch_return_foreground(struct sidch_state *);
/* Whether some move puts a file at `fd`. fds.c */
int sidch_is_target(const struct sid_plan *, int fd);

/* What differs between systems: os_linux.c. Each returns >= 0 or -errno. */

/* Marks fds `first` to `last` close-on-exec. */
int sidch_os_close_range(unsigned first, unsigned last);
/* Marks every open fd from 3 up close-on-exec but those that are targets. */
int sidch_os_close_others(struct sidch_state *);
/* Resets caught signals and those of default_signals to SIG_DFL, sets those of ignore_signals to SIG_IGN. */
int sidch_os_dispositions(struct sidch_state *);
/* From here to exec a stop signal is noted (sidch_note_stop) and stops nobody. */
int sidch_os_catch_stops(struct sidch_state *);
int sidch_os_set_mask(uint64_t mask);

#endif
