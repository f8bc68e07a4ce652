/* SPDX-License-Identifier: Apache-2.0 */
/* Reports of what return probes missed, with a folder in the place of tracefs: not every kernel has kprobes. */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "losses.h"
#include "output.h"
#include "records.h"
#include "return-probe.h"

static char folder[] = "/tmp/tracehouse-probes-XXXXXX";

static void fill(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	if (!file || fputs(text, file) < 0 || fclose(file))
		abort();
}

static void profile(int misses)
{
	char text[128];

	snprintf(text, sizeof(text), "  return_%d_tcp_recvmsg   10   %d\n  other   10   99\n", getpid(), misses);
	fill("kprobe_profile", text);
}

struct bpf_link *bpf_program__attach_kprobe(const struct bpf_program *program, bool at_return, const char *function)
{
	abort();
}

struct bpf_link *bpf_program__attach_perf_event(const struct bpf_program *program, int fd)
{
	return NULL;
}

int bpf_object__find_map_fd_by_name(const struct bpf_object *object, const char *name)
{
	return -1;
}

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	return -1;
}

int libbpf_num_possible_cpus(void)
{
	return 1;
}

void hooks_missed(const struct hooks *hooks, unsigned long long missed[TH_LOSS_SLOTS])
{
	memset(missed, 0, TH_LOSS_SLOTS * sizeof(*missed));
	missed[TH_LOSS_HOOK_MISSED] = return_probe_missed();
}

void output_frame(unsigned type, const void *fixed, size_t length, const char *const *strings, size_t count)
{
	printf("lost %llu\n", (unsigned long long)((const struct th_loss *)fixed)->events_lost);
}

int main(void)
{
	static struct th_live live;
	char path[128];

	if (!mkdtemp(folder))
		return 1;
	fill("kprobe_events", "");
	return_probe_open(folder);
	losses_open(NULL, &live);
	return_probe_attach(NULL, "tcp_recvmsg");
	profile(3);
	losses_report(NULL, 1);
	profile(5);
	return_probe_close();
	losses_report(NULL, 2);
	snprintf(path, sizeof(path), "%s/kprobe_profile", folder);
	unlink(path);
	losses_report(NULL, 3);
	printf("told %llu\n", (unsigned long long)losses_told());
	snprintf(path, sizeof(path), "%s/kprobe_events", folder);
	unlink(path);
	rmdir(folder);
	return 0;
}
