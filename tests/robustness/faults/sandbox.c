/* Executes a program in which some system calls fail: sandbox ERRNO RULE... -- PROGRAM ARGUMENTS...
 * A RULE is the number of a system call, or of setsockopt with level and option: 232, 54:0:13. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct sock_filter code[256];
static unsigned short length;

static void add(unsigned short what, unsigned k, unsigned char yes, unsigned char no) {
    code[length++] = (struct sock_filter)BPF_JUMP(what, k, yes, no);
}

/* Loads the lower 32 bits of an argument; the values compared are small. */
static void load_argument(int which) {
    unsigned low = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
    add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[which]) + low, 0, 0);
}

int main(int count, char **arguments) {
    unsigned error = (unsigned)atoi(arguments[1]);
    int at = 2;
    for (; at < count && strcmp(arguments[at], "--"); at++) {
        unsigned call, level, option;
        int parts = sscanf(arguments[at], "%u:%u:%u", &call, &level, &option);
        add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
        add(BPF_JMP | BPF_JEQ | BPF_K, call, 0, parts == 3 ? 5 : 1);
        if (parts == 3) {
            load_argument(1);
            add(BPF_JMP | BPF_JEQ | BPF_K, level, 0, 3);
            load_argument(2);
            add(BPF_JMP | BPF_JEQ | BPF_K, option, 0, 1);
        }
        add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error, 0, 0);
    }
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    struct sock_fprog filter = {.len = length, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
        perror("seccomp");
        return 126;
    }
    execv(arguments[at + 1], arguments + at + 1);
    perror("exec");
    return 127;
}
