#include "ui/complete.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* The directory that is looked into. */
static void folder_of(const char *text, size_t slash, char *out, size_t n) {
  const char *home = getenv("HOME");
  if (!strncmp(text, "~/", 2) && home)
    text_put(out, n, "%s/%.*s", home, (int)(slash > 2 ? slash - 2 : 0), text + 2);
  else
    text_put(out, n, "%.*s", slash ? (int)slash : 1, slash ? text : ".");
}

int path_complete(char *text, size_t n) {
  char folder[4096], common[512] = "", path[4700];
  const char *last = strrchr(text, '/'), *part = last ? last + 1 : text;
  int found = 0;
  folder_of(text, (size_t)(part - text), folder, sizeof folder);
  DIR *d = opendir(folder);
  for (struct dirent *x; d && (x = readdir(d));) {
    if (strncmp(x->d_name, part, strlen(part)) || (*x->d_name == '.' && *part != '.')) continue;
    if (!found++) text_put(common, sizeof common, "%s", x->d_name);
    size_t same = 0;
    while (common[same] && common[same] == x->d_name[same]) same++;
    while (same && ((unsigned char)common[same] & 0xc0) == 0x80) same--; /* whole characters */
    common[same] = 0;
  }
  if (d) closedir(d);
  size_t length = strlen(text), more = strlen(common), have = strlen(part);
  if (more > have) text_put(text + length, n - length, "%s", common + have);
  bool folder_found = found == 1 && text_put(path, sizeof path, "%s/%s", folder, common) && is_directory(path);
  length = strlen(text);
  if (folder_found) text_put(text + length, n - length, "/");
  return found;
}
