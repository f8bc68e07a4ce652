/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool usage(const char *problem)
{
	fprintf(stderr,
		"tracehouse-loader: %s\n"
		"usage: tracehouse-loader [--node NAME] [--ring-bytes N] [--payload 0..4096] [--scope SPEC]... [--exclude-pid N]...\n"
		"                         [--spill FOLDER] [--spill-bytes N] [--give-way]\n"
		"                         [--no-wakes] [--no-turns] [--stacks] [--task-identity on|off] [--hooks auto|tp|fexit|kprobe] [--probe]\n"
		"SPEC: all, netns:NAME_OR_PATH, cgroup:PATH, pid:N\n",
		problem);
	return false;
}

static bool number(const char *text, unsigned long long least, unsigned long long most, unsigned long long *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *value >= least && *value <= most;
}

bool options_read(int argc, char **argv, struct options *options, struct th_settings *settings)
{
	unsigned long long value;

	*options = (struct options){.hooks = "auto", .ring_bytes = 16 << 20, .spill_bytes = 256 << 20};
	*settings = (struct th_settings){.payload = 256, .wakes = 1, .turns = 1, .task_identity = 1};
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *text = i + 1 < argc ? argv[i + 1] : NULL;
		if (!strcmp(name, "--no-turns")) {
			settings->turns = 0;
			continue;
		} else if (!strcmp(name, "--no-wakes")) {
			settings->wakes = 0;
			continue;
		} else if (!strcmp(name, "--stacks")) {
			settings->stacks = 1;
			continue;
		} else if (!strcmp(name, "--give-way")) {
			options->gives_way = true;
			continue;
		} else if (!strcmp(name, "--probe")) {
			options->probe = true;
			continue;
		}
		if (strcmp(name, "--node") && strcmp(name, "--ring-bytes") && strcmp(name, "--payload") && strcmp(name, "--scope") &&
		    strcmp(name, "--exclude-pid") && strcmp(name, "--hooks") && strcmp(name, "--task-identity") && strcmp(name, "--spill") &&
		    strcmp(name, "--spill-bytes"))
			return usage("unknown argument");
		if (!text)
			return usage("an argument lacks its value");
		i++;
		if (!strcmp(name, "--node")) {
			options->node = text;
		} else if (!strcmp(name, "--ring-bytes")) {
			if (!number(text, 1, 1ull << 30, &options->ring_bytes))
				return usage("--ring-bytes takes 1 to 1073741824");
		} else if (!strcmp(name, "--payload")) {
			if (!number(text, 0, 4096, &value))
				return usage("--payload takes 0 to 4096");
			settings->payload = value;
		} else if (!strcmp(name, "--exclude-pid")) {
			if (!number(text, 1, 1 << 30, &value) || options->excluded_count == 256)
				return usage("--exclude-pid takes a process id");
			options->excluded[options->excluded_count++] = value;
		} else if (!strcmp(name, "--spill")) {
			options->spill = text;
		} else if (!strcmp(name, "--spill-bytes")) {
			if (!number(text, 1 << 20, 1ull << 40, &options->spill_bytes))
				return usage("--spill-bytes takes 1048576 to 1099511627776");
		} else if (!strcmp(name, "--hooks")) {
			if (strcmp(text, "auto") && strcmp(text, "tp") && strcmp(text, "fexit") && strcmp(text, "kprobe"))
				return usage("--hooks takes auto, tp, fexit or kprobe");
			options->hooks = text;
		} else if (!strcmp(name, "--task-identity")) {
			if (strcmp(text, "on") && strcmp(text, "off"))
				return usage("--task-identity takes on or off");
			settings->task_identity = !strcmp(text, "on");
		} else {
			if (options->scope_count == 256)
				return usage("too many scopes");
			options->scopes[options->scope_count++] = text;
		}
	}
	if (!options->scope_count)
		options->scopes[options->scope_count++] = "all";
	return true;
}
