/*
 * Every struct, enum and prototype that Python sees, once: sid.h includes this
 * file and cffi reads it, so it holds plain declarations and no preprocessor.
 *
 * Every function returns a value >= 0, or -errno.
 * `int` stands for pid_t, which is an int on every supported system.
 */

/* The steps of a child's set-up, in the order in which they run. */
enum sid_stage {
    SID_STAGE_NONE,
    SID_STAGE_PROCESS_GROUP,
    SID_STAGE_CTTY,
    SID_STAGE_FOREGROUND,
    SID_STAGE_CGROUP,
    SID_STAGE_FDS,
    SID_STAGE_CLOSE_FDS,
    SID_STAGE_RLIMITS,
    SID_STAGE_NICE,
    SID_STAGE_CPU_AFFINITY,
    SID_STAGE_OOM_SCORE_ADJ,
    SID_STAGE_UMASK,
    SID_STAGE_CHROOT,
    SID_STAGE_CWD,
    SID_STAGE_EXTRA_GROUPS,
    SID_STAGE_GROUP,
    SID_STAGE_USER,
    SID_STAGE_NO_NEW_PRIVILEGES,
    SID_STAGE_PARENT_DEATH_SIGNAL,
    SID_STAGE_SIGNAL_DISPOSITIONS,
    SID_STAGE_SIGNAL_MASK,
    SID_STAGE_EXEC
};

/* The system calls that an error can come from. */
enum sid_call {
    SID_CALL_NONE,
    SID_CALL_SETSID,
    SID_CALL_SETPGID,
    SID_CALL_OPEN,
    SID_CALL_TIOCSCTTY,
    SID_CALL_TIOCNOTTY,
    SID_CALL_TCGETPGRP,
    SID_CALL_TCSETPGRP,
    SID_CALL_FCNTL,
    SID_CALL_DUP2,
    SID_CALL_UMASK,
    SID_CALL_CHDIR,
    SID_CALL_FCHDIR,
    SID_CALL_SIGACTION,
    SID_CALL_SIGPROCMASK,
    SID_CALL_EXECVE,
    SID_CALL_CLONE3,
    SID_CALL_CLONE,
    SID_CALL_FORK,
    SID_CALL_MMAP,
    SID_CALL_PIPE,
    SID_CALL_MALLOC,
    SID_CALL_WRITE,
    SID_CALL_SETRLIMIT,
    SID_CALL_SETPRIORITY,
    SID_CALL_SCHED_SETAFFINITY,
    SID_CALL_CHROOT,
    SID_CALL_SETGROUPS,
    SID_CALL_SETRESGID,
    SID_CALL_SETRESUID,
    SID_CALL_NO_NEW_PRIVS,
    SID_CALL_PDEATHSIG,
    SID_CALL_GETPPID,
    SID_CALL_PTHREAD_CREATE,
    SID_CALL_PIDFD_OPEN,
    SID_CALL_SET_ROBUST_LIST,
    SID_CALL_FSTATFS,
    SID_CALL_TIOCSPTLCK,
    SID_CALL_TIOCGPTPEER,
    SID_CALL_TIOCSWINSZ,
    SID_CALL_TCGETATTR,
    SID_CALL_TCSETATTR,
    SID_CALL_POSIX_OPENPT,
    SID_CALL_GRANTPT,
    SID_CALL_UNLOCKPT
};

/* Special values of sid_plan.process_group; any other is a group to join or, with 0, to lead. */
enum sid_group { SID_GROUP_NEW_SESSION = -1, SID_GROUP_INHERIT = -2 };

/* Special value of sid_fd_move.source. */
enum sid_source { SID_SOURCE_DEVNULL = -1 };

/* The ways to make a child. */
enum sid_way {
    SID_WAY_PROBE,  /* not known yet: find out at the next spawn */
    SID_WAY_CLONE3, /* shared memory, vfork, handlers reset by the kernel */
    SID_WAY_CLONE,  /* shared memory, vfork */
    SID_WAY_PAGE,   /* own memory, the report and the sign of exec in a shared page */
    SID_WAY_FORK    /* own memory, no vfork, the report through a pipe */
};

/* The child's fd `target` becomes the parent's fd `source`. */
struct sid_fd_move {
    int source; /* or SID_SOURCE_DEVNULL */
    int target;
    int lift; /* another move overwrites `source`: copy it out of the way first */
};

struct sid_rlimit {
    int resource;
    uint64_t soft; /* all bits: no limit */
    uint64_t hard;
};

/* What the child does before exec. Sets of signals have bit n-1 for signal n; -1 is "no" in all fds. */
struct sid_plan {
    int process_group;
    int ctty;
    int steal_ctty;
    int release_ctty;
    int foreground_tty;
    int cgroup_fd;
    const char *cgroup; /* NULL: the parent's, or cgroup_fd */
    int close_fds;
    int rlimit_count;
    const struct sid_rlimit *rlimits;
    int nice; /* an increment */
    int cpus_size;
    const unsigned long *cpus; /* a bit for each CPU, in cpus_size bytes; none: the parent's */
    int sets_oom_score_adj;
    int oom_score_adj;
    int umask;          /* -1: the parent's */
    const char *chroot; /* NULL: the parent's */
    int cwd_fd;
    const char *cwd; /* NULL: the parent's, or cwd_fd */
    int sets_groups;
    int group_count;
    const unsigned *groups;
    int sets_group;
    unsigned group;
    int sets_user;
    unsigned user;
    int no_new_privileges;
    int parent_death_signal; /* 0: none */
    int inherit_mask;
    uint64_t signal_mask;
    uint64_t default_signals;
    uint64_t ignore_signals;
    int move_count;
    const struct sid_fd_move *moves; /* sorted by target, each target once */
};

/* What failed: all 0 when nothing did. */
struct sid_report {
    int stage;
    int call;
    int error;  /* errno */
    int detail; /* the fd, signal or candidate that the call was about */
    int stops;  /* a bit (1 << signal) for each stop signal that the child has put off until exec */
    int pid;    /* a fork's child, as it numbers itself; with SID_STOPS_MADE, the process that was made */
};

/* Special values of sid_report.stops in a pipe: a SIGCONT has undone the earlier ones; all steps are done; a middle
   child has made the process `pid`. */
enum sid_stops { SID_STOPS_UNDONE = 1, SID_STOPS_DONE = 2, SID_STOPS_MADE = 4 };

/* Special values of sid_child.pidfd. */
enum sid_pidfd {
    SID_PIDFD_NONE = -1,   /* the kernel has no such thing, or there was no file left for one */
    SID_PIDFD_CLOSED = -2, /* the child has been reaped, or the handle closed */
    SID_PIDFD_LOST = -3    /* somebody else has closed it */
};

/* A child of ours and what is known of its end. Threads may share it. Zeroed before sid_spawn fills it. */
struct sid_child {
    int pid;
    int pidfd;
    int owner; /* the process whose child it is */
    int leads_session;
    int closed;     /* by its user */
    int kept;       /* the handle itself is a user of the pidfd; 0 when the spawn failed too */
    int shared;     /* somebody has been told the pidfd's number */
    int lock;       /* held while the child is reaped or signalled by number; by which process */
    int ended;      /* returncode is known */
    int reaped;     /* it is no longer our zombie */
    int returncode; /* its exit status, or -n if signal n ended it */
    int dumped;     /* it left a core dump */
    int has_usage;
    int stays;         /* not to be reaped yet: how many ask for it */
    uint64_t users;    /* of the pidfd, of which the last one closes it; above 32 bits, in which process they are */
    uint64_t file;     /* by which the pidfd is known: whoever closes all files gives the number to another */
    int64_t usage[16]; /* struct rusage in its order, the two times in microseconds */
    int session;       /* of a detached one, which is nobody's child here: the session that it was started in; else 0 */
    int leader;        /* a pidfd of the process that has led it; -1: of no use in this kernel */
    uint64_t leader_file; /* by which that is known */
    int64_t
        start; /* when a detached one has started that no pidfd outlasts a fork for, on the clock of sid_now; 0: gone */
    struct sid_report report;
};

/* What sid_wait_change saw. */
enum sid_change { SID_CHANGE_DONE, SID_CHANGE_STOPPED, SID_CHANGE_CONTINUED };

/* calls.c: one thin wrapper a system call. */

/* Makes the caller the leader of a new session; its id. setsid(2) */
int sid_setsid(void);
/* The session of process `pid`, 0 for the caller's. getsid(2) */
int sid_getsid(int pid);
/* Moves `pid` (0: the caller) into group `pgid` (0: its own); 0. setpgid(2) */
int sid_setpgid(int pid, int pgid);
/* The group of process `pid`, 0 for the caller's. getpgid(2) */
int sid_getpgid(int pid);
/* The session whose controlling terminal `fd` is. tcgetsid(3) */
int sid_tcgetsid(int fd);
/* The foreground group of the terminal `fd`, 0 for none. tcgetpgrp(3) */
int sid_tcgetpgrp(int fd);
/* Makes `pgid` the foreground group of `fd`, with SIGTTOU blocked; 0. tcsetpgrp(3) */
int sid_tcsetpgrp(int fd, int pgid);
/* Makes `fd` the caller's controlling terminal; 0. ioctl_tty(2), TIOCSCTTY */
int sid_acquire_ctty(int fd, int steal);
/* Gives up the controlling terminal `fd`; 0. ioctl_tty(2), TIOCNOTTY */
int sid_release_ctty(int fd);
/* Puts the reading and the writing end of a new pipe into `ends`, close-on-exec; 0. pipe(2) */
int sid_pipe(int *ends);
/* The access mode and flags of `fd`. fcntl(2), F_GETFL */
int sid_fd_flags(int fd);
/* A copy of `fd`, close-on-exec, with a number from `least` up. fcntl(2), F_DUPFD_CLOEXEC */
int sid_copy_from(int fd, int least);
/* Locks byte `byte` of an open file, which must be writable, for that open file and its copies; 0, or -EAGAIN if
   another one has it. The last close unlocks it. fcntl(2), F_OFD_SETLK */
int sid_lock(int fd, int byte);
int sid_unlock(int fd, int byte);
/* 1 if another open file has that byte locked for writing, else 0. fcntl(2), F_OFD_GETLK */
int sid_is_locked(int fd, int byte);
/* 1 if `fd` is a terminal, 0 if it is an open file of another kind. isatty(3) */
int sid_is_terminal(int fd);
/* 1 if the caller ignores that signal, whatever Python knows of it, else 0. sigaction(2) */
int sid_is_ignored(int number);
/* The bits of the signals that Python ignores at its start: SIGPIPE and SIGXFSZ. signal(7) */
uint64_t sid_python_ignored_signals(void);

/* pty.c: pseudo-terminals. */

/* The numbers of its two sides, -1 once closed, and what shows that a number is of it still. */
struct sid_pty {
    int manager;
    int terminal;
    int number;      /* /dev/pts/N, where its devpts is mounted there */
    uint64_t device; /* of the terminal's file */
    uint64_t inode;
    struct sid_pty *next; /* of all that are not closed, while they are not */
};

/* Opens a new pseudo-terminal of this size, close-on-exec, and nobody's controlling terminal; 0, or -errno of `call`,
   an enum sid_call. Must be closed by sid_close_pty before its memory goes. ptmx(4), ioctl_tty(2), TIOCGPTPEER */
int sid_open_pty(struct sid_pty *pty, int rows, int columns, int *call);
/* Opens the terminal side likewise if it is closed; 0, or -errno of `call`. */
int sid_reopen_terminal(struct sid_pty *pty, int *call);
/* Makes the manager side the caller's; its file descriptor, or -EBADF when the number is another file's by now. */
int sid_take_manager(struct sid_pty *pty);
/* Close the terminal side, or both, unless the number is another file's by now; nothing the second time. */
void sid_close_terminal(struct sid_pty *pty);
void sid_close_pty(struct sid_pty *pty);
/* How many rows and columns the terminal `fd` (either side) has; 0. ioctl_tty(2), TIOCGWINSZ */
int sid_get_size(int fd, int *rows, int *columns);
/* Sets them: the foreground group gets SIGWINCH if they have changed; 0. ioctl_tty(2), TIOCSWINSZ */
int sid_set_size(int fd, int rows, int columns);

/* foreground.c: a terminal lent to a process group. */

/* A struct termios. */
struct sid_modes {
    char bytes[128];
};

struct sid_loan {
    int fd;       /* a copy of the terminal's, close-on-exec; -1: nothing is lent */
    int failed;   /* that copy when the terminal could not be taken back, until that is tried again; else -1 */
    int call;     /* an enum sid_call: what has failed */
    int lender;   /* the process that has lent it: no child that it forks takes it back */
    int previous; /* the group that had it */
    struct sid_modes modes; /* and the terminal's then */
};

/* Makes `pgid` the foreground group of `tty`, the caller's controlling terminal, without being stopped by SIGTTOU; 0,
   or -errno of `loan->call`. tcsetpgrp(3) */
int sid_lend(struct sid_loan *loan, int tty, int pgid);
/* Sets the modes as they were, and the foreground group, or the caller's own if that is gone; 0, also when nothing is
   lent, or -errno of `loan->call`. tcsetpgrp(3), tcsetattr(3) */
int sid_take_back(struct sid_loan *loan);
/* Takes back what is lent, and closes its file come what may: for a destructor, in which no exception of a signal
   handler can come before it is done. */
void sid_drop_loan(struct sid_loan *loan);
/* The modes of a terminal, and setting them without being stopped by SIGTTOU; 0. tcgetattr(3), tcsetattr(3) */
int sid_get_modes(int tty, struct sid_modes *modes);
int sid_set_modes(int tty, const struct sid_modes *modes);

/* procs.c: the processes that there are. */

enum sid_scope { SID_SCOPE_SESSION, SID_SCOPE_GROUP, SID_SCOPE_ALL };

/* What is known of a process. Where the system hides it from us, only the first three and that it lives. */
struct sid_process {
    int pid;
    int pgid;
    int sid;
    int ppid;
    int state;        /* a letter as in proc_pid_stat(5) */
    int lives;        /* it is no zombie; one whose main thread alone has ended lives */
    int is_kernels;   /* a kernel thread */
    int tpgid;        /* its terminal's foreground group; -1: none */
    unsigned user;    /* effective; all bits: not known */
    int result;       /* of the SIGKILL that sid_kill_members has sent: 0 or -errno */
    uint64_t tty;     /* the device of its controlling terminal; 0: none */
    int64_t start;    /* nanoseconds on the clock of sid_now: with the pid, it names one process for good */
    size_t arguments; /* where they begin in struct sid_text, */
    int size;         /* and how many bytes they take, each with its NUL; long ones are cut */
    char command[64];
};

/* Memory for command lines. */
struct sid_text {
    char *bytes;
    size_t room;
    size_t used; /* more than there is room for: it was too little */
};

/* The time in nanoseconds on the clock by which processes start. clock_gettime(2), CLOCK_BOOTTIME */
int64_t sid_now(void);
/* Fills `sids` with the sessions of up to `room` processes (0: of another pid namespace, or none); how many processes
   there are, or -ENOENT without a /proc of our pid namespace. getsid(2) */
int sid_sessions(int *sids, int room);
/* Fills `processes` with up to `room` of those in session or group `id`, zombies too; how many there are. With `text`
   (else NULL) their users and arguments are told too, and those are looked for that /proc leaves out. One that starts
   or ends during the pass may be missed; but where no living one is found, none lives: it is looked again until that is
   sure. getsid(2), getpgid(2), proc_pid_stat(5), proc_pid_cmdline(5) */
int sid_processes(int scope, int id, struct sid_process *processes, int room, struct sid_text *text);
/* Fills `process` with what is known of `pid`, with `text` (else NULL) its user and arguments too; 1, 0 if there is
   none, or -errno. */
int sid_process(int pid, struct sid_process *process, struct sid_text *text);
/* Fills `path` with the path of the terminal `device`, as long as it fits; its length, or 0 where it has none. */
int sid_terminal_path(uint64_t device, char *path, int room);

/* members.c: signals to the members of a session or group, each found to be one after its pidfd was opened. */

/* Puts a pidfd of `pid` into `pidfd` if it is a member of `id`, else -1; 0, or -ESRCH for one that is none. Not
   returned, since an exception may come before a returned one is noted. pidfd_open(2) */
int sid_watch_member(int scope, int id, int pid, int *pidfd);
/* Closes those of `count` file descriptors that are not -1, and makes them -1; 0. */
int sid_close_all(int *fds, int count);
/* The same for those after the first number, which is their count: for a destructor, in which no exception of a signal
   handler can come before it is done; 0. */
int sid_close_counted(int *fds);
/* Sends `signal` to `pid`, if it is a member of `id`, and SIGCONT if `goes_on`, so that it sees the signal; 0, -ESRCH
   if it is none. pidfd_send_signal(2) */
int sid_signal_member(int scope, int id, int pid, int signal, int goes_on);
/* In one pass sends SIGKILL to each living member of `id` but `spared`, a whole group at once where its leader is met,
   and fills `members` with up to `room` of them; how many there were. 0 as surely as for sid_processes. */
int sid_kill_members(int scope, int id, int spared, struct sid_process *members, int room);
/* 1 if the group that a process has led lives on: then its number is nobody else's, reaped or not; 0 if not, or nobody
   can tell (before Linux 6.9). pidfd_send_signal(2) */
int sid_group_lives(int pidfd);
/* The same of a group that a child has led. */
int sid_childs_group_lives(struct sid_child *child);

/* spawn.c: makes a child that carries out `plan` and then executes a program. */

/* Points `at` (room for `count` + 1) at each of `count` strings with a NUL between them, `size` bytes without the last
   NUL, and ends with NULL; 0, or -EINVAL if one of them holds a NUL. */
int sid_point(const char **at, const char *strings, size_t size, int count);

/* Starts `executable` (NULL: the first argument), looked for as execvp(3) does in the PATH of `envp`. `argv` is a block
   of strings as above. 0; -EINVAL with an empty report if an argument holds a NUL; or -errno with child->report filled
   and no child left. execve(2), clone(2) */
int sid_spawn(const struct sid_plan *plan, const char *executable, const char *argv, size_t argv_size, int argc,
              const char *const *envp, struct sid_child *child);
/* The same for a program that is nobody's child: it is started in a new session which it does not lead, by a child that
   ends at once, and `child` is its handle. The plan's process group must be SID_GROUP_INHERIT. -EINVAL too for a caller
   whose next child would be the first of another pid namespace. setsid(2), pidfd_open(2) */
int sid_spawn_detached(const struct sid_plan *plan, const char *executable, const char *argv, size_t argv_size,
                       int argc, const char *const *envp, struct sid_child *child);
/* Makes `child` the handle of process `pid`, an unreaped child of this process that was started otherwise; 0.
   pidfd_open(2), getsid(2) */
int sid_adopt(struct sid_child *child, int pid);
/* For tests: forces a way (SID_WAY_PROBE: none) and hides pidfds; 0. */
int sid_force(int way, int hide_pidfd);
/* The way the next spawn takes, by probing where need be. */
int sid_way(void);

/* apply.c, fork.c: carry a plan out in a process that goes on in its program. `scratch` has room for `move_count` ints.
 */

/* 0; -EBADF if a file of the plan is not open, -ENOTTY if a terminal is none, -EINVAL if ctty is write-only. fcntl(2)
 */
int sid_check_files(const struct sid_plan *plan);
/* Special results of sid_apply: nothing has been done, since the plan says something that the kernel keeps for each
   thread (nice, processors, no_new_privileges, parent-death signal) and this is not the main one; or since
   sid_check_files would fail. */
enum sid_apply { SID_APPLY_OTHER_THREAD = 1, SID_APPLY_BAD_FILE = 2 };

/* Carries `plan` out in this process. `parent_pid` is who must live on (0: not told), if the plan has a parent-death
   signal. 0, one of the above, or -errno with `report` filled, the mask as it was, and the steps before done. */
int sid_apply(const struct sid_plan *plan, int *scratch, int parent_pid, struct sid_report *report);

/* What sid_fork_prepare opens and changes for a fork. */
struct sid_fork {
    int owner;      /* the parent */
    int ends[2];    /* of the report's pipe */
    int leave[2];   /* of the pipe in which the parent gives the child leave to go on */
    int foreground; /* the group that had plan->foreground_tty, or -errno */
    int cgroup_fd;
    int parent_pidfd;
    int cancellation;
    uint64_t mask;
    uint64_t more; /* of signals 65 to 128 */
};

/* Blocks all signals of the caller and opens what the child will need: 0, or -errno with child->report filled. From
   here on one of the next three must be called, in each process if there are two. */
int sid_fork_prepare(const struct sid_plan *plan, struct sid_fork *fork, struct sid_child *child);
/* In the child: carries the plan out and reports. 0; does not return if a step failed. */
int sid_fork_child(const struct sid_plan *plan, int *scratch, struct sid_fork *fork);
/* In the parent of child `pid`: waits until it has reported, and fills `child`. 0; or -errno with child->report filled
   and no child left: of the step that failed, or -ECHILD with returncode if a signal has ended the child before. */
int sid_fork_parent(const struct sid_plan *plan, struct sid_fork *fork, int pid, struct sid_child *child);
/* In the parent, instead, when something has come in between: ends and reaps the child `pid` (-1: there is none; 0:
   there may be one, whose number got lost); 0. */
int sid_fork_abandon(struct sid_fork *fork, int pid);

/* handle.c, reap.c, wait.c, signal.c: all take a struct sid_child that sid_spawn filled. */

/* Sleeps until the child has ended, at most `timeout` nanoseconds (< 0: no limit), then reaps it if `reap` is not 0;
   0, -ETIMEDOUT, -EINTR, or -ECHILD when somebody else has reaped it and nobody knows how it ended.
   waitid(2), pidfd_open(2) */
int sid_wait(struct sid_child *child, int64_t timeout, int reap);
/* Reaps the child if it has ended; 1 ended, 0 still runs, -ECHILD: ended, but nobody knows how. waitid(2) */
int sid_reap(struct sid_child *child);
/* Sleeps until the child stops, continues or ends; an enum sid_change, or an error as in sid_wait. waitid(2) */
int sid_wait_change(struct sid_child *child, int64_t timeout);
/* What the child does now, without taking it; an enum sid_change (SID_CHANGE_CONTINUED: it runs), or an error as in
   sid_wait. If `waits` is not 0, sleeps until it does not run. Puts the signal by which it is stopped into `signal`, or
   0. waitid(2), WNOWAIT */
int sid_state(struct sid_child *child, int waits, int *signal);
/* Sends a signal to the child, never to a process that got its pid later; 0. pidfd_send_signal(2) */
int sid_signal_child(struct sid_child *child, int signal);
/* Bit 0: the end is known, and what tells of it may be read; bit 1: likewise the usage. */
int sid_ended(struct sid_child *child);
/* Has waits leave the child a zombie from now on (`more` is 1) or no longer (-1); how many ask for it. */
int sid_stay(struct sid_child *child, int more);
/* The same for `holder`, which is 0 as long as it does not ask for it: any number of calls count as one; 0. */
int sid_stay_for(struct sid_child *child, int *holder);
int sid_stay_no_longer(struct sid_child *child, int *holder);
/* 1 if the child is ours and unreaped, so that its number, and those of the group and session that it leads, can't be
   another's; else 0. waitid(2) */
int sid_is_ours(struct sid_child *child);
/* Sends a signal to the child's process group while the child is not reaped, so that the group's number is its own; 0,
   1 if that is the caller's own group, which is spared, or -ESRCH if it is not `group` (0: any). kill(2) */
int sid_signal_group(struct sid_child *child, int signal, int group);
/* The process group of a child that is ours and unreaped, a zombie too; 0 if it is not. getpgid(2) */
int sid_childs_group(struct sid_child *child);
/* Notes the wait status of a child that somebody else has reaped; 0 */
int sid_reaped_elsewhere(struct sid_child *child, int status);
/* detach.c: of a struct sid_child that sid_spawn_detached filled. */

/* 1 if the process runs, 0 once it has ended; -EBADF: closed. pidfd_open(2), proc_pid_stat(5) */
int sid_is_alive(struct sid_child *child);
/* 1 if child->session is sure to be the number of no later session: the process lives in it, or its first process group
   lives on (known since Linux 6.9); else 0, or -EBADF: closed. getsid(2), pidfd_send_signal(2) */
int sid_session_is_own(struct sid_child *child);
/* Sleeps until the process has ended, at most `timeout` nanoseconds (< 0: no limit); 0, -ETIMEDOUT, -EINTR, or -EBADF:
   closed. pidfd_open(2) */
int sid_wait_detached(struct sid_child *child, int64_t timeout);

/* handle.c, again: both kinds. */

/* A file descriptor that polls readable once the child has ended, for as long as the child is not closed; -ENOSYS where
   there is none. pidfd_open(2) */
int sid_fileno(struct sid_child *child);
/* Puts a copy of the pidfd into `pidfd`, or -1; 0 or -errno, as sid_dup_pidfd. */
int sid_watch_child(struct sid_child *child, int *pidfd);
/* A copy of the pidfd; -ESRCH after the child has been reaped, -ENOSYS where there is none. */
int sid_dup_pidfd(struct sid_child *child);
/* Lets go of an open child: 1 if it must still be reaped (by sid_reap, then sid_forget), else 0. */
int sid_close(struct sid_child *child);
/* Closes what a child that sid_close left unreaped still holds; 0. */
int sid_forget(struct sid_child *child);
