/* vforked DEAF: its child by vfork writes both pids to stdout and stops. DEAF is 1 if it is deaf to SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pid_t parent = getpid();

    if (vfork() == 0) {
        char line[64];
        if (argc > 1 && strcmp(argv[1], "1") == 0)
            signal(SIGTERM, SIG_IGN);
        snprintf(line, sizeof line, "%d %d\n", (int)parent, (int)getpid());
        if (write(1, line, strlen(line)) < 0)
            _exit(1);
        raise(SIGSTOP);
        for (;;)
            pause();
    }
    return 0;
}
