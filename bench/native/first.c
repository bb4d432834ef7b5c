/* What a benchmark starts: a program that says when it came to be, by CLOCK_MONOTONIC.
 *
 *     first [wait | crash MS | listen MS PORT | log MS | write FILE]
 *
 * Its first system call reads the clock, its second writes the nanoseconds as a line to standard
 * output. Then it ends; or waits until SIGTERM; or after MS milliseconds crashes (exit 1, a line
 * with the time just before), listens on a TCP port, or writes the line `ready`, and waits. `write`
 * opens FILE for writing, changes its first byte, and says how many nanoseconds that took. Static,
 * so that no loader's time is measured and an image of it is one file.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0) {
        _exit(2);
    }
}

static long long nanoseconds(const struct timespec *moment)
{
    return (long long)moment->tv_sec * 1000000000LL + moment->tv_nsec;
}

static void say_number(long long number)
{
    char line[32];
    snprintf(line, sizeof line, "%lld\n", number);
    say(line);
}

static void change(const char *path)
{
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    const int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || pwrite(file, "x", 1, 0) != 1) {
        _exit(2);
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    say_number(nanoseconds(&after) - nanoseconds(&before));
}

static void sleep_for(const char *milliseconds)
{
    const long wanted = strtol(milliseconds, NULL, 10);
    const struct timespec pause = {wanted / 1000, wanted % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

static void listen_on(const char *port)
{
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)strtoul(port, NULL, 10)),
        .sin_addr.s_addr = htonl(INADDR_ANY),
    };
    if (server < 0 || bind(server, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(server, 16) < 0) {
        _exit(2);
    }
}

/* A process 1 is not ended by a signal that it does not handle (pid_namespaces(7)). */
static void leave(int number)
{
    (void)number;
    _exit(0);
}

int main(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    say_number(nanoseconds(&now));
    if (argc < 2) {
        return 0;
    }
    if (argc > 2 && strcmp(argv[1], "write") == 0) {
        change(argv[2]);
        return 0;
    }
    if (argc > 2) {
        sleep_for(argv[2]);
    }
    if (strcmp(argv[1], "crash") == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        say_number(nanoseconds(&now));
        return 1;
    }
    if (strcmp(argv[1], "listen") == 0 && argc > 3) {
        listen_on(argv[3]);
    } else if (strcmp(argv[1], "log") == 0) {
        say("ready\n");
    }
    signal(SIGTERM, leave);
    for (;;) {
        pause();
    }
}
