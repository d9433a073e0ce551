/* macOS and FreeBSD: all processes that there are, by sysctl(3). */
#include "bsd.h"

#include <stdlib.h>

/* Everybody's records, with room for `spare` more than there are, in an array for the caller to free; how many. */
static int read_table(struct kinfo_proc **table, size_t spare)
{
    size_t size;
    int error;

    *table = NULL;
    if (sysctl(sidos_table, sidos_table_depth, NULL, &size, NULL, 0) < 0)
        return -errno;
    size += spare * sizeof **table;
    *table = malloc(size);
    if (!*table)
        return -ENOMEM;
    if (sysctl(sidos_table, sidos_table_depth, *table, &size, NULL, 0) == 0)
        return (int)(size / sizeof **table);
    error = errno;
    free(*table);
    return -error;
}

/* ENOMEM: more have come since the count. EPERM: a sandbox of macOS, FreeBSD's capability mode. */
static int read_whole_table(struct kinfo_proc **table)
{
    int count = -ENOMEM;

    for (size_t spare = 64; count == -ENOMEM && spare < SIDOS_NO_GROUP; spare *= 4)
        count = read_table(table, spare);
    return count == -EPERM ? -ENOENT : count;
}

static int compare(const void *one, const void *other)
{
    const int a = *(const int *)one, b = *(const int *)other;

    return (a > b) - (a < b);
}

/* The kernel's own pid, 0, would mean the caller or its group to getsid(2) and kill(2). */
int sidos_list_pids(int **pids, int thoroughly)
{
    struct kinfo_proc *table;
    int size = read_whole_table(&table), count = 0;

    (void)thoroughly; /* the system shows all that it ever does */
    *pids = NULL;
    if (size < 0)
        return size;
    *pids = malloc(((size_t)size + 1) * sizeof **pids);
    for (int i = 0; *pids && i < size; i++)
        if (sidos_pid_of(&table[i]) > 0)
            (*pids)[count++] = sidos_pid_of(&table[i]);
    free(table);
    if (!*pids)
        return -ENOMEM;
    qsort(*pids, (size_t)count, sizeof **pids, compare); /* the newest come first */
    return count;
}

int sidos_describe_fully(struct sid_process *process, struct sid_text *text)
{
    int result = sidos_describe(process);

    if (result > 0 && process->lives && !process->is_kernels)
        sidos_read_arguments(process, text);
    return result;
}

int sidos_proc_is_ours(void)
{
    return 1;
}
