/* The Masks screen's state, shared between what it shows (masks.c, masks_draw.c) and where masks come from and go to (masks_files.c). */
#ifndef PDMBOOTH_UI_SCREENS_MASKS_H
#define PDMBOOTH_UI_SCREENS_MASKS_H

#include "ui/app.h"
#include "ui/list.h"
#include "ui/mask_edit.h"

struct masks_state {
  struct list list;
  char opened[4096]; /* path of the photograph that is being worked on */
  struct image photograph;
  struct mask_edit edit;
  enum mask_kind kind; /* where the mask was found */
  double confidence;   /* of a derived one; NaN: not known */
  int grid_w, grid_h;  /* of the latents, 0: not known */
  int width, height;   /* of what is trained on, pixels */
  int elements;        /* latent cells of the middle crop that the mask leaves; -1: to be counted again */
  struct picture *shown;
  bool stale;        /* shown is to be made again */
  struct rect cells; /* where it was drawn */
  double brush;      /* radius in cells */
  int x, y;          /* cursor, in cells of the picture; -1: not shown yet */
  double last_x, last_y;
  bool dragging;
  pid_t pid;          /* of the process that derives masks, 0: none */
  char deriving[128]; /* the subject that it is about */
  char tried[128];    /* the subject whose masks were derived unasked already */
};

struct masks_state *masks_state(struct app *a); /* NULL: out of memory */
void masks_open(struct app *a);                 /* the selected photograph, where it is not open already */
void masks_close(struct masks_state *s);
void masks_save(struct app *a, const char *argument);
/* Back to what is derived or lies beside the photographs; the own mask is kept as .bak. */
void masks_forget(struct app *a, const char *argument);
/* Derives the masks that are not accepted, in a process of its own. */
void masks_derive(struct app *a, const char *argument);
void masks_derive_missing(struct app *a); /* once for each subject, where some photograph has none and no training is under way */
/* How many latent cells of the middle crop the mask leaves; -1: not known. */
int masks_elements(struct masks_state *s);
/* The middle of a cell of the picture, in pixels of the photograph; radius of the brush there. */
void masks_to_pixels(const struct masks_state *s, int x, int y, double *px, double *py, double *radius);
void masks_draw(struct app *a, struct rect r);
int masks_list_width(struct rect r); /* of the screen's rectangle */

#endif
