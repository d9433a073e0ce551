/* A fork bomb, for tests that end it: bomb KINDS COUNT CGROUP. It joins the pids cgroup CGROUP, if that is no "".
   KINDS are letters: g each process leads a group of its own; h hoppers, COUNT of them, each of which forks and ends at
   once, so that no pid is old; d deaf to SIGTERM; e the first process ends. It writes a byte to
   stdout when that is so: when a fork has failed, or COUNT processes hop. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *kinds;

static int is(char kind)
{
    return strchr(kinds, kind) != NULL;
}

static void join(const char *cgroup)
{
    char path[4096] = "";
    int file;

    if (!*cgroup)
        return;
    strncat(path, cgroup, sizeof path - 20);
    strcat(path, "/cgroup.procs");
    file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, "0", 1) != 1)
        _exit(1);
    close(file);
}

static void tell(void)
{
    if (write(1, "x", 1) >= 0)
        close(1);
}

static void lead(void)
{
    if (is('g'))
        setpgid(0, 0);
}

/* For ever; the child goes on in the parent's place. */
static void hop(void)
{
    lead();
    for (;;) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
        if (pid == 0)
            lead();
    }
}

static void start_hoppers(int count)
{
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            close(1);
            hop();
        }
        if (pid < 0)
            i--;
    }
    tell();
}

/* For ever. The first to find no room for more tells; those that come later find a closed pipe. */
static void burn(void)
{
    int told = 0;

    for (int first = 1;; first = 0) {
        pid_t pid = fork();
        if (pid == 0) {
            lead();
        } else if (pid > 0 && first && is('e')) {
            _exit(0);
        } else if (pid < 0 && !told) {
            tell();
            told = 1;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 3;
    kinds = argv[1];
    join(argv[3]);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN); /* no zombies, which would take the room of others */
    if (is('d'))
        signal(SIGTERM, SIG_IGN);
    if (is('h'))
        start_hoppers(atoi(argv[2]));
    else
        burn();
    if (is('e'))
        return 0;
    for (;;)
        pause();
}
