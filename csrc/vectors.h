/* argv and the candidates for execve, made in the parent so that the child need not. */
#ifndef SID_VECTORS_H
#define SID_VECTORS_H

#include "sid.h"

struct sid_vectors {
    const char **argv;
    int *scratch; /* as many ints as were asked for */
    const char *paths;
    int path_count;
};

/* `argv` is a block for sid_point. `executable` NULL means the first argument; one without a slash is looked for in the
   PATH of `envp`. 0, -EINVAL when an argument holds a NUL, or -ENOMEM. */
int sidh_make_vectors(struct sid_vectors *vectors, const char *executable, const char *argv, size_t argv_size, int argc,
                      const char *const *envp, int scratch);
void sidh_free_vectors(struct sid_vectors *vectors);

#endif
