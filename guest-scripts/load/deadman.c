// SPDX-License-Identifier: GPL-2.0-only
/*
 * deadman SECONDS: restarts the machine when so much time has passed, whatever
 * else goes on by then.
 *
 * Until then it feeds every watchdog that there is. When it cannot run any
 * more, nobody feeds them, and they restart the machine: that of the hardware
 * where the driver is in the kernel, else the kernel's own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#define MOST_DOGS 8
#define FEED_SECONDS 5
#define BARK_SECONDS 60

static int dogs[MOST_DOGS];

static void protect(void)
{
	const struct sched_param first = { .sched_priority = 2 };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) < 0)
		fprintf(stderr, "deadman: the OOM killer may choose it: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
	if (sched_setscheduler(0, SCHED_FIFO, &first))
		fprintf(stderr, "deadman: a busy machine may delay it: %s\n", strerror(errno));
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		fprintf(stderr, "deadman: its memory may be reclaimed: %s\n", strerror(errno));
}

/* Drivers may come later than this program: asked again until it is there. */
static void feed(void)
{
	char name[32];
	int number;

	for (number = 0; number < MOST_DOGS; number++) {
		if (dogs[number] < 0) {
			int seconds = BARK_SECONDS;

			snprintf(name, sizeof(name), "/dev/watchdog%d", number);
			dogs[number] = open(name, O_WRONLY | O_CLOEXEC);
			if (dogs[number] < 0)
				continue;
			/* One that takes another time keeps its own. */
			ioctl(dogs[number], WDIOC_SETTIMEOUT, &seconds);
		}
		if (write(dogs[number], "", 1) < 0)
			fprintf(stderr, "deadman: watchdog%d: %s\n", number, strerror(errno));
	}
}

static void press_sysrq(const char *key)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, key, 1) < 0)
		fprintf(stderr, "deadman: sysrq %s: %s\n", key, strerror(errno));
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_sec = FEED_SECONDS };
	long most = argc == 2 ? atol(argv[1]) : 0;
	struct timespec began, now;
	int number;

	if (most < 1 || most > 7 * 24 * 3600) {
		fprintf(stderr, "usage: deadman SECONDS; 1 to %d\n", 7 * 24 * 3600);
		return 2;
	}
	for (number = 0; number < MOST_DOGS; number++)
		dogs[number] = -1;
	protect();
	clock_gettime(CLOCK_MONOTONIC, &began);
	do {
		feed();
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - began.tv_sec < most);
	/* Standard error is the kernel log, which is kept for a moment more. */
	fprintf(stderr, "ttm-harness: the time is over: restarting after %ld s\n", most);
	press_sysrq("w");
	clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	press_sysrq("u");
	clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	press_sysrq("b");
	reboot(RB_AUTOBOOT);
	return 1;
}
