/* Photographs and their masks: read, resized, cropped, scaled to -1..1. method.md sections 4 and 6. */
#ifndef PDMBOOTH_TRAIN_DATASET_H
#define PDMBOOTH_TRAIN_DATASET_H

#include "formats/image.h"

struct photograph {
  char name[256];
  char hash[65];     /* sha-256 of the centre crop: size and pixels */
  struct image rgb;  /* resized, at least the crop's size */
  struct image mask; /* of the same size, 255 inside the subject, 0 outside; px NULL: none was asked for, or it is still to be derived */
  bool mask_given;   /* it was a file */
  int own_w, own_h;  /* size of the file's picture */
  float *moments[2]; /* cache of whoever encodes: posterior moments of the centre crop, as it is and flipped; owned, may be NULL */
};

struct dataset {
  int width, height;             /* of a crop */
  double margin;                 /* photographs are resized to cover (1 + margin) times that */
  int photographs, held_out;     /* held-out ones follow the others */
  struct photograph *photograph; /* [photographs + held_out] */
};

struct dataset_want {
  const char *images;   /* a directory, or "embedded:poodle" */
  const char *mask_dir; /* "": masks/ beside the photographs */
  const char *hold_out; /* file names separated by commas */
  bool masks;
  bool derive; /* a mask that is missing is no error: somebody derives it (automask.h) */
  int width, height;
  double margin; /* room for a crop to move in; 0: the short side is the crop's */
};

/* Photographs (png, jpg, jpeg, webp) of the directory in the order of their names. ERR_INPUT: none, unreadable, a mask that is missing,
   of another aspect or all black; each by its path. */
bool dataset_open(struct dataset *d, const struct embedded_file *embedded, const struct dataset_want *w, struct err *e);
void dataset_close(struct dataset *d);
/* The photograph as it is on disk, whole and in its own size, and the sha-256 of the file. */
bool photograph_original(const struct embedded_file *embedded, const struct dataset_want *w, const struct photograph *p, struct image *out,
                         char hash[65], struct err *e);
/* Gives a photograph its mask: taken over, resized to the photograph's, made binary. name: for messages. */
bool photograph_take_mask(struct photograph *p, struct image *mask, const char *name, struct err *e);
/* Share of the pixels inside; 1 without a mask. */
double mask_area(const struct image *mask);

/* Size that a picture of w x h gets: the smallest of its aspect that covers width x height (for a square: torchvision's Resize). */
void cover_size(int w, int h, int width, int height, int *out_w, int *out_h);
/* torchvision's CenterCrop: round half to even of (size - crop) / 2. */
int center_offset(int size, int crop);
/* px / 255 in -1..1 (torchvision's ToTensor and Normalize([0.5], [0.5])) of a w x h crop at (x, y); out [h, w, 3]. */
void crop_pixels(const struct image *im, int x, int y, int w, int h, bool flip, float *out);

void photograph_center(const struct dataset *d, const struct photograph *p, int *x, int *y);
/* The mask of a crop on a grid: mask.h. All ones where the photograph has no mask. Returns how many are 1, -1 when out of memory. */
int photograph_mask(const struct dataset *d, const struct photograph *p, int x, int y, bool flip, int gw, int gh, float *out);

#endif
