// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/*
 * What the scenarios beside this file eat memory with; some ran an older one, with one
 * mmap() for all of it. eat COMM ADJ anon|mlock|pipes|shm MIB [SECONDS]
 */
int main(int c, char **v)
{
	struct rlimit r = { 100000, 100000 };
	int flags = strcmp(v[3], "shm") ? MAP_PRIVATE : MAP_SHARED;
	long n = atol(v[4]) << 20, i;
	int s = c > 5 ? atoi(v[5]) : 0;
	int q[2];
	char *p;
	FILE *f;

	prctl(PR_SET_NAME, v[1]);
	f = fopen("/proc/self/oom_score_adj", "w");
	fputs(v[2], f);
	fclose(f);
	if (!strcmp(v[3], "pipes")) {
		setrlimit(RLIMIT_NOFILE, &r);
		for (i = 0; i < n >> 14; i++) {
			if (pipe(q) || fcntl(q[0], F_SETPIPE_SZ, 1 << 20) < 0) {
				perror("pipe");
				break;
			}
		}
		sleep(s);
		return 0;
	}
	if (!strcmp(v[3], "mlock"))
		mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	while (n > 0) {
		p = mmap(0, 4 << 20, 3, flags | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) {
			perror("mmap");
			return 1;
		}
		madvise(p, 4 << 20, MADV_NOHUGEPAGE);
		for (i = 0; i < 4 << 20; i += 4096)
			p[i] = i >> 12 | 1;
		n -= 4 << 20;
	}
	sleep(s);
	return 0;
}
