/* What the parent half hands to the child, and what the child's files share. */
#ifndef SID_CHILD_H
#define SID_CHILD_H

#include "../sid.h"

/* The child's stack, and its alignment: so a signal handler finds the base, and there the state. */
enum { SIDCH_STACK_SIZE = 16 * 1024 };

/* How credentials are changed: by raw calls in a child, by libc's, which change all threads, in a whole process. */
struct sidch_ids {
    int (*set_groups)(size_t count, const unsigned *groups);
    int (*set_group)(unsigned group);
    int (*set_user)(unsigned user);
};

/* What a child with a memory of its own shares with its parent. The kernel sets the word when it executes or ends. */
struct sidch_page {
    struct sid_report report;
    struct sidch_robust { /* linux/futex.h: struct robust_list and the futex behind it */
        struct sidch_robust *next;
        uint32_t word;
    } robust;
};
enum { SIDCH_HAS_EXECUTED = 0x40000000 }; /* this bit; FUTEX_OWNER_DIED */

/* All that a child needs. Written by the parent before the child exists; the child writes `scratch` only. */
struct sidch_job {
    const struct sid_plan *plan;
    int goes_on;        /* there is no exec: the process goes on in its program */
    int is_own_process; /* nobody has made it for this plan, so it must not end with it */
    const char *paths;  /* candidates for execve, NUL-separated */
    int path_count;
    const char *const *argv;
    const char *const *envp;
    int *scratch;                /* move_count ints: where each source has been lifted to */
    uint64_t parent_mask;        /* the caller's signal mask before all were blocked */
    uint64_t parent_more;        /* the same of signals 65 to 128, where there are any */
    int handlers_reset;          /* the kernel has reset caught signals already */
    int in_cgroup;               /* the kernel has put the child there already */
    int cgroup_fd;               /* of plan->cgroup */
    const struct sidch_ids *ids; /* how credentials are changed */
    int parent_pid;              /* who must live on if there is a parent-death signal; 0: not known */
    int parent_pidfd;            /* likewise; -1: none */
    struct sid_report *report;   /* where the parent reads it, if report_fd is -1 */
    int report_fd;               /* else it is written here */
    struct sidch_page *page;     /* where the kernel tells of exec; NULL: another way */
    int is_detached;             /* a middle child has made it, in a new session that it does not lead */
};

/* What a middle child needs: it makes the process of a program that is to be nobody's child, and ends. In memory that
   it shares with the caller, but where the report goes through a pipe. */
struct sidch_middle {
    struct sidch_job *job;
    /* Makes a process that calls sidch_detached_main with this; its pid, or -errno. */
    int (*start)(void *how, int by_clone3, int cgroup_fd);
    void *how;
    int by_clone3; /* set to 0 where clone3 is refused */
    int shares_memory;
    int leave_fd; /* where the caller lets it go, if the report goes through a pipe; else -1 */
    int caller;
    int ignores_sigchld;
    int pid;       /* of the process that was made; 0: none */
    uint32_t busy; /* not 0: that one may be on a stack of the caller's. The kernel clears it, at exec or at the end */
};

/* The directory of the cgroup to join; -1: none. */
static inline int sidch_cgroup_fd(const struct sidch_job *job)
{
    return job->cgroup_fd >= 0 ? job->cgroup_fd : job->plan->cgroup_fd;
}

/* What one step finds out and a later one needs. */
struct sidch_state {
    const struct sidch_job *job;
    const struct sid_plan *plan;
    struct sid_report report;
    int cwd_fd;
    int oom_score_fd;   /* opened early; -1: not */
    int old_foreground; /* to be given the terminal back on failure; 0: nobody */
};

/* Carries out the plan and executes the program. Never returns. What clone(2) calls, on a SIDCH_STACK_SIZE stack. */
int sidch_main(void *job);
/* middle.c: the same for a middle child, and for the process that it makes. */
int sidch_middle_main(void *middle);
int sidch_detached_main(void *middle);
/* Carries out a plan in a process that goes on. 0; or -errno with the report delivered, if it is the process's own. */
int sidch_go_on(const struct sidch_job *job);
/* In a fork's child, before all else: waits for the parent's word, SIDCH_GO_ON, and ends without it. run.c */
void sidch_await_leave(int leave_fd, int report_fd, int parent_pid);
enum { SIDCH_GO_ON = 'y', SIDCH_END = 'n' };

/* The steps: 0, or what sidch_fail returned. */
int sidch_process_group(struct sidch_state *);
int sidch_ctty(struct sidch_state *);
int sidch_foreground(struct sidch_state *);
int sidch_cgroup(struct sidch_state *);
int sidch_fds(struct sidch_state *);
int sidch_close_fds(struct sidch_state *);
int sidch_rlimits(struct sidch_state *);
int sidch_nice(struct sidch_state *);
int sidch_cpu_affinity(struct sidch_state *);
int sidch_oom_score_adj(struct sidch_state *);
int sidch_umask(struct sidch_state *);
int sidch_chroot(struct sidch_state *);
int sidch_cwd(struct sidch_state *);
int sidch_extra_groups(struct sidch_state *);
int sidch_group(struct sidch_state *);
int sidch_user(struct sidch_state *);
int sidch_no_new_privileges(struct sidch_state *);
int sidch_parent_death_signal(struct sidch_state *);
int sidch_signal_dispositions(struct sidch_state *);
int sidch_signal_mask(struct sidch_state *);
int sidch_exec(struct sidch_state *);

/* Has the parent know of `report`. run.c */
void sidch_deliver(const struct sidch_job *, const struct sid_report *report);
/* Tells the parent of a stop signal that did not stop the child, or of a SIGCONT that undoes it. Keeps errno. run.c */
void sidch_note_stop(struct sidch_state *, int signal);
/* Notes that `call` failed with the current errno; -errno. */
int sidch_fail(struct sidch_state *, enum sid_call call, int detail);
/* Takes the terminal back from the child's group. session.c */
void sidch_return_foreground(struct sidch_state *);
/* Whether some move puts a file at `fd`. fds.c */
int sidch_is_target(const struct sid_plan *, int fd);
/* Closes `fd`, or marks it close-on-exec where an exec is to come, unless it is to stay open; 0 too if it is not open.
   fds.c */
int sidch_close_one(struct sidch_state *, int fd);
/* The least number >= `from` that the plan keeps, or with `own` one that we need ourselves; -1: none. fds.c */
int sidch_next_kept(const struct sidch_state *, int from, int own);
/* Closes what was opened for the steps, in a process that goes on. fds.c */
void sidch_close_own(struct sidch_state *, int all_is_done);

/* What differs between systems: os_linux.c and its like. Each returns >= 0 or -errno. */

/* Marks fds `first` to `last` close-on-exec, or closes them `now`. */
int sidch_os_close_range(unsigned first, unsigned last, int now);
/* Does so with every open fd from 3 up but those that are kept. */
int sidch_os_close_others(struct sidch_state *);
/* All bits set: no limit. */
int sidch_os_set_limit(int resource, uint64_t soft, uint64_t hard);
int sidch_os_set_affinity(const unsigned long *cpus, size_t size);
/* Credentials of the calling thread alone, which is all that a child has. */
extern const struct sidch_ids sidch_os_ids;
int sidch_os_no_new_privileges(void);
int sidch_os_set_parent_death_signal(int signal);
int sidch_os_is_readable(int fd);
/* Has the kernel set FUTEX_OWNER_DIED in the page's word when this process executes or ends. */
struct sidch_robust_head {
    struct sidch_robust *list;
    long offset;
    void *pending;
};
int sidch_os_tell_of_exec(struct sidch_page *, struct sidch_robust_head *);
/* Resets caught signals (where there is an exec to come) and those of default_signals to SIG_DFL, sets those of
 * ignore_signals to SIG_IGN. */
int sidch_os_dispositions(struct sidch_state *);
/* Where a signal handler finds the state: a place that this child has for itself. */
struct sidch_state **sidch_os_anchor(void);
/* `more`: signals 65 to 128. */
int sidch_os_set_mask(uint64_t mask, uint64_t more);

#endif
