/* So many processes, each in a session of its own, until standard input ends. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 0;
    char byte;

    for (int i = 0; i < count; i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            setsid();
            pause();
            _exit(0);
        }
    printf("ready\n");
    fflush(stdout);
    return read(0, &byte, 1) != 0;
}
