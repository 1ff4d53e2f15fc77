/* SPDX-License-Identifier: MIT
 *
 * The lock-free lookup of src/core (slot_map.c, region_table.c) as a model for Spin, which walks
 * through every interleaving of two writers and a reader, one atomic access at a time.
 *
 * The address space is two units of two slots, with one word each in the top: the third level would
 * be the second once more. There is one node, which so is used again for the other unit at once (who
 * needs a second one gets no memory), and two ids, so that they are too. A region has one slot or the two of a unit. A writer releases whatever region it finds at
 * some address, and reserves; both may pick the same. Each reservation has a life of its own, by which
 * the model knows what was true when; the code under test sees of it only what a descriptor says.
 *
 * Checked, for each call of find:
 *   a region that it answers was live, with that base and size, at some moment of the call;
 *   it answers none only if there was a moment of the call at which nothing was published there;
 *   (that it ends whatever the others do is plain: it has no loop);
 * that who locks a region holds one that is alive, and that at the end every slot leads to its owner
 * and the node is in use where two regions are.
 *
 * Spin runs accesses in the order of the program. That the processor and the compiler keep that
 * order as far as it matters is argued at the head of slot_map.c and region_table.c.
 *
 * Defined by check.cmake, one at a time, each a mistake that Spin has to find:
 *   RELEASE_BEFORE_WITHDRAW  the OS gets the addresses back before seq turns even
 *   RECYCLE_BEFORE_CLEAR     the id is free before its slots are cleared
 *   SEQ_BEFORE_SLOTS         seq turns odd before the id is in the slots
 *   NODE_BEFORE_FILLED       a node is in its word before the region that was alone is in the node
 *   NODE_FREE_WITH_ONE       a node goes back when one region is left in its unit
 *   CLEAR_WHATEVER           clear takes away the id of a successor
 *   MAP_UNLOCKED             writers do not take the map's lock
 *   NO_SECOND_LOOK           find does not look at seq again
 *   NO_LOOK_UNDER_LOCK       lock does not look at seq again
 */
#define UNITS 2
#define PER_UNIT 2
#define SLOTS (UNITS * PER_UNIT)
#define IDS 2
#define LIVES 4 /* two at the start, and one more by each writer */
#define NODE 9  /* in a word of the top: the node */

#define UNIT(slot) ((slot) / PER_UNIT)
#define INSIDE(slot, base, size) ((slot) >= (base) && (slot) < (base) + (size))

/* slot_map */
byte top[UNITS];
byte words[PER_UNIT]; /* of the node */
byte used;            /* of them */
bool node_taken;
bool map_locked;

/* region_table, by id */
typedef descriptor {
    byte seq;
    byte base;
    byte size;
    byte life; /* stands for type and protect */
    bool locked
};
descriptor regions[IDS + 1];
chan free_ids = [IDS] of { byte };

/* The operating system, and what the model knows. */
byte owner[SLOTS]; /* the life that has the slot, or 0 */
typedef truth {
    byte base;
    byte size;
    bool live;      /* from the OS's VirtualAlloc to its VirtualFree */
    bool withdrawn; /* so far */
    bool seen       /* live at some moment of the reader's call */
};
truth lives[LIVES + 1];
byte lives_used;
byte wanted;    /* the slot that the reader looks for */
bool published; /* there, from publish to withdraw */
bool missed;    /* it was not, at some moment of the call */

/* ---- slot_map.c ---- */

inline map_lock()
{
#ifdef MAP_UNLOCKED
    skip
#else
    atomic { !map_locked -> map_locked = true }
#endif
}

inline map_unlock()
{
    map_locked = false
}

/* Put the node under the word of the unit, with the id that is alone there. */
inline install(unit)
{
    d_step { node_taken = true; used = 0; other = top[unit] };
#ifdef NODE_BEFORE_FILLED
    top[unit] = NODE;
#endif
    d_step { part = 0; from = regions[other].base; to = from + regions[other].size };
    do
    :: part < PER_UNIT ->
        if
        :: INSIDE(unit * PER_UNIT + part, from, to - from) ->
            d_step { words[part] = other; used++ }
        :: else
        fi;
        part++
    :: else -> break
    od;
    top[unit] = NODE
}

inline set_word(slot, id)
{
    d_step {
        used = used + (words[slot % PER_UNIT] == 0);
        words[slot % PER_UNIT] = id
    }
}

/* Is not done where it needs a second node. */
inline slot_map_set(base, size, id)
{
    map_lock();
    done = true;
    if
    :: top[UNIT(base)] == 0 || (size == PER_UNIT && top[UNIT(base)] != NODE) ->
        top[UNIT(base)] = id /* alone, or the only one */
    :: top[UNIT(base)] != 0 && top[UNIT(base)] != NODE && size != PER_UNIT && node_taken ->
        done = false
    :: else ->
        if
        :: top[UNIT(base)] != NODE -> install(UNIT(base))
        :: else
        fi;
        set_word(base, id);
        if
        :: size == PER_UNIT -> set_word(base + 1, id)
        :: else
        fi
    fi;
    map_unlock()
}

inline clear_word(slot, id)
{
    d_step {
        if
#ifdef CLEAR_WHATEVER
        :: words[slot % PER_UNIT] != 0 ->
#else
        :: words[slot % PER_UNIT] == id ->
#endif
            words[slot % PER_UNIT] = 0;
            used--
        :: else
        fi
    }
}

inline slot_map_clear(base, size, id)
{
    map_lock();
    if
    :: top[UNIT(base)] == NODE ->
        clear_word(base, id);
        if
        :: size == PER_UNIT -> clear_word(base + 1, id)
        :: else
        fi;
        if
#ifdef NODE_FREE_WITH_ONE
        :: used == 1 ->
            top[UNIT(base)] = words[0] + words[1];
            d_step { words[0] = 0; words[1] = 0; used = 0; node_taken = false }
#endif
        :: used == 0 -> top[UNIT(base)] = 0; node_taken = false
        :: else
        fi
#ifdef CLEAR_WHATEVER
    :: top[UNIT(base)] != NODE -> top[UNIT(base)] = 0
#else
    :: top[UNIT(base)] == id -> top[UNIT(base)] = 0
#endif
    :: else
    fi;
    map_unlock()
}

inline slot_map_get(slot, id)
{
    id = top[UNIT(slot)];
    if
    :: id == NODE -> id = words[slot % PER_UNIT]
    :: else
    fi
}

/* ---- region_table.c: lookup ---- */

inline read_region(id)
{
    seq = regions[id].seq;
    base = regions[id].base;
    size = regions[id].size;
    life = regions[id].life;
#ifdef NO_SECOND_LOOK
    live = seq % 2 == 1
#else
    live = seq % 2 == 1 && regions[id].seq == seq
#endif
}

/* id, and what read_region found; id is 0 for none */
inline find_id(slot)
{
    slot_map_get(slot, id);
    if
    :: id != 0 ->
        read_region(id);
        if
        :: live && INSIDE(slot, base, size)
        :: else -> id = 0
        fi
    :: else
    fi
}

inline region_lock()
{
    atomic { !regions[id].locked -> regions[id].locked = true }
}

inline region_table_lock(slot)
{
    do
    :: find_id(slot);
        if
        :: id == 0 -> break
        :: else
        fi;
        region_lock();
#ifdef NO_LOOK_UNDER_LOCK
        break;
#endif
        if
        :: regions[id].seq == seq -> break
        :: else -> regions[id].locked = false
        fi
    od
}

/* ---- region_table.c: publish and withdraw ---- */

inline bump_seq_odd()
{
    d_step {
        regions[id].seq++;
        lives[life].withdrawn = false;
        published = published || INSIDE(wanted, base, size)
    }
}

inline bump_seq_even()
{
    d_step {
        regions[id].seq++;
        lives[life].withdrawn = true;
        if
        :: INSIDE(wanted, base, size) -> published = false; missed = true
        :: else
        fi
    }
}

inline publish()
{
    regions[id].base = base;
    regions[id].size = size;
    regions[id].life = life;
#ifdef SEQ_BEFORE_SLOTS
    bump_seq_odd();
    slot_map_set(base, size, id)
#else
    slot_map_set(base, size, id);
    if
    :: done -> bump_seq_odd()
    :: else
    fi
#endif
}

/* ---- the operating system ---- */

inline os_take(value)
{
    owner[base] = value;
    owner[base + size - 1] = value
}

inline os_reserve()
{
    d_step {
        life = 0;
        if
        :: owner[base] == 0 && owner[base + size - 1] == 0 ->
            lives_used++;
            life = lives_used;
            os_take(life);
            lives[life].base = base;
            lives[life].size = size;
            lives[life].live = true;
            lives[life].seen = true
        :: else
        fi
    }
}

inline os_release()
{
    d_step {
        assert(lives[life].live); /* nobody releases twice */
        os_take(0);
        lives[life].live = false
    }
}

/* ---- virtual_memory.c ---- */

inline reserve()
{
    if
    :: free_ids ? id ->
        if
        :: base = 0; size = 1
        :: base = 1; size = 1
        :: base = 0; size = 2
        :: base = 2; size = 1
        :: base = 3; size = 1
        fi;
        os_reserve();
        if
        :: life != 0 ->
            publish();
            if
            :: done
            :: else -> os_release(); free_ids ! id
            fi
        :: else -> free_ids ! id
        fi
    :: empty(free_ids)
    fi
}

inline discard()
{
#ifdef RECYCLE_BEFORE_CLEAR
    regions[id].locked = false;
    free_ids ! id;
    slot_map_clear(base, size, id)
#else
    slot_map_clear(base, size, id);
    regions[id].locked = false;
    free_ids ! id
#endif
}

inline release()
{
    if
    :: address = 0
    :: address = 1
    fi;
    region_table_lock(address);
    if
    :: id == 0
    :: else ->
        assert(lives[life].live && lives[life].base == base && lives[life].size == size);
#ifdef RELEASE_BEFORE_WITHDRAW
        os_release();
        bump_seq_even();
        discard()
#else
        bump_seq_even();
        if
        :: os_release();
            discard()
        :: bump_seq_odd(); /* the OS refuses */
            regions[id].locked = false
        fi
#endif
    fi
}

/* ---- the threads ---- */

proctype writer()
{
    byte id, seq, base, size, life, address, other, part, from, to;
    bool live, done;
    release();
    atomic {
        id = 0; seq = 0; base = 0; size = 0; life = 0; address = 0; live = false;
        other = 0; part = 0; from = 0; to = 0; done = false
    }
    reserve()
}

proctype reader()
{
    byte id, seq, base, size, life;
    bool live;
    d_step {
        missed = !published;
        do
        :: life <= LIVES -> lives[life].seen = lives[life].live; life++
        :: else -> break
        od;
        life = 0
    }
    find_id(wanted);
    atomic {
        if
        :: id == 0 -> assert(missed)
        :: else ->
            assert(lives[life].seen && lives[life].base == base && lives[life].size == size);
            assert(INSIDE(wanted, base, size))
        fi
    }
}

/* A region at the start. */
inline given(at, slots)
{
    base = at;
    size = slots;
    os_reserve();
    id = life;
    publish()
}

inline slot_leads_to_owner(slot)
{
    slot_map_get(slot, id);
    seq = regions[id].seq;
    assert(owner[slot] == 0 || (seq % 2 == 1 && regions[id].life == owner[slot]));
    assert(owner[slot] != 0 || !INSIDE(slot, regions[id].base, regions[id].size) || seq % 2 == 0 ||
           id == 0)
}

init {
    byte id, seq, base, size, life, other, part, from, to;
    bool done;
    atomic {
        if
        :: wanted = 0
        :: wanted = 1
        fi;
        if
        :: given(0, 2); free_ids ! 2
        :: given(0, 1); given(1, 1)
        fi;
        id = 0; base = 0; size = 0; life = 0; other = 0; part = 0; from = 0; to = 0; done = false;
        run writer();
        run writer();
        run reader()
    };
    _nr_pr == 1; /* all have ended */
    slot_leads_to_owner(0);
    slot_leads_to_owner(1);
    slot_leads_to_owner(2);
    slot_leads_to_owner(3);
    assert(node_taken == (top[0] == NODE || top[1] == NODE));
    assert(!node_taken || used == (words[0] != 0) + (words[1] != 0));
    assert(!node_taken || used != 0)
}
