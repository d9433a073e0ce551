/* argv, envp and the candidates for execve, made in the parent so that the child need not. */
#ifndef SID_VECTORS_H
#define SID_VECTORS_H

#include "sid.h"

/* `count` strings with a NUL between them, `size` bytes without the last NUL. */
struct sid_strings {
    const char *bytes;
    size_t size;
    int count;
};

struct sid_vectors {
    char **argv;
    char **envp;
    int *scratch; /* as many ints as were asked for */
    const char *paths;
    int path_count;
};

/* `executable` NULL means the first argument. One without a slash is looked for in the PATH of `env`.
   0, -EINVAL when a string holds a NUL, or -ENOMEM. */
int sid_make_vectors(struct sid_vectors *vectors, const char *executable, const struct sid_strings *argv,
                     const struct sid_strings *env, int scratch);
void sid_free_vectors(struct sid_vectors *vectors);

#endif
