/* The limit of the machine: floor COUNT IN_FLIGHT PROGRAM [ARGUMENT...]
 *
 * Runs PROGRAM COUNT times, IN_FLIGHT at once: vfork, a session of its own, exec; its stdout and stderr are read through two
 * pipes to their end; then it is waited for. Prints one JSON line {"seconds": ..., "cpu_seconds": ...}. The processor time
 * is that of this process and of all that it started.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct slot { pid_t pid; int open; };

static void fail(const char *what) { fprintf(stderr, "floor: %s: %s\n", what, strerror(errno)); exit(1); }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void start(char **argv, int devnull, struct slot *slot, struct pollfd *pipes)
{
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) fail("pipe2");
    pid_t pid = vfork();
    if (pid < 0) fail("vfork");
    if (pid == 0) {
        setsid();
        dup2(devnull, 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        execv(argv[0], argv);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    slot->pid = pid;
    slot->open = 2;
    pipes[0] = (struct pollfd){ .fd = out[0], .events = POLLIN };
    pipes[1] = (struct pollfd){ .fd = err[0], .events = POLLIN };
}

int main(int argc, char **argv)
{
    static char buffer[65536];
    if (argc < 4) { fprintf(stderr, "usage: floor COUNT IN_FLIGHT PROGRAM [ARGUMENT...]\n"); return 2; }
    int count = atoi(argv[1]), width = atoi(argv[2]), started = 0, ended = 0;
    if (count < 1 || width < 1) { fprintf(stderr, "floor: COUNT and IN_FLIGHT are at least 1\n"); return 2; }
    int devnull = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct slot *slots = calloc((size_t)width, sizeof *slots);
    struct pollfd *pipes = calloc((size_t)width * 2, sizeof *pipes);
    if (devnull < 0 || !slots || !pipes) fail("set-up");
    for (int i = 0; i < 2 * width; i++) pipes[i].fd = -1;

    double begin = now();
    while (started < width && started < count) {
        start(argv + 3, devnull, &slots[started], &pipes[2 * started]);
        started++;
    }
    while (ended < count) {
        if (poll(pipes, (nfds_t)width * 2, -1) < 0 && errno != EINTR) fail("poll");
        for (int i = 0; i < 2 * width; i++) {
            if (pipes[i].fd < 0 || !pipes[i].revents) continue;
            ssize_t got = read(pipes[i].fd, buffer, sizeof buffer);
            if (got > 0) continue;
            close(pipes[i].fd);
            pipes[i].fd = -1;
            struct slot *slot = &slots[i / 2];
            if (--slot->open) continue;
            int status;
            if (waitpid(slot->pid, &status, 0) < 0) fail("waitpid");
            if (!WIFEXITED(status) || WEXITSTATUS(status)) { fprintf(stderr, "floor: a process failed\n"); return 1; }
            ended++;
            if (started < count) { start(argv + 3, devnull, slot, &pipes[i & ~1]); started++; }
        }
    }
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f}\n", now() - begin, cpu(RUSAGE_SELF) + cpu(RUSAGE_CHILDREN));
    return 0;
}
