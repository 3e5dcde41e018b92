#!/usr/bin/env bash
# The spine, checked: the module docs of the files on a message's path name their step, the previous file and the next one,
# as in "Spine: step 3 of 13. Previous: `protocol: command`. Next: `node: session/actor/send`." The chain of `Next` from step 1
# to step 13 must match `Previous`, hold every file with such a line, and equal the table in ARCHITECTURE.md.
# The table "Files on the path" there lists every file that a message passes through: at most 45, all of them present, in
# the order of their steps, each with a module doc that names its step, as in "Path of a message: step 4 of 13." At most 10
# queues are listed, each with file, bound, response when full, and metric.
set -euo pipefail
cd "$(dirname "$0")/.."

perl -e '
  use strict; use warnings;
  my (%step, %previous, %next, $failed);
  sub complain { print STDERR "spine: @_\n"; $failed = 1 }
  # Returns the file of a name such as `node: session/actor/send`.
  sub file {
    my ($name) = @_;
    return undef if $name eq "none";
    my ($crate, $path) = split /: /, $name;
    my ($file) = grep { -f } "$crate/src/$path.rs", "$crate/src/$path/mod.rs";
    complain("no file is named $name") unless $file;
    return $file;
  }
  for my $file (split /\n/, `git ls-files -co --exclude-standard "*.rs"`) {
    next unless -f $file;
    open(my $in, "<", $file) or die "$file: $!";
    my $doc = join " ", map { m{^//! ?(.*)} ? $1 : () } <$in>;
    complain("$file: another wording of a step") if $doc =~ /\bStep \d+\b/;
    next unless $doc =~ /Spine/;
    if ($doc =~ /Spine: step (\d+) of 13\. Previous: `?([^`]+?)`?\. Next: `?([^`]+?)`?\.(?: |$)/) {
      ($step{$file}, $previous{$file}, $next{$file}) = ($1, file($2), file($3));
    } else { complain("$file: the line of the spine is incomplete") }
  }
  my ($file, @rest) = grep { !defined $previous{$_} } sort keys %step;
  complain("several files begin the spine: $file @rest") if @rest;
  my (@chain, %seen);
  while (defined $file && !$seen{$file}++) {
    push @chain, "$step{$file} $file";
    my $next = $next{$file} // last;
    if (!defined $step{$next}) { complain("$file: its next file $next has no line of the spine"); last }
    complain("$next: its previous file is not $file") unless ($previous{$next} // "") eq $file;
    complain("$next: step $step{$next} follows step $step{$file}") unless $step{$next} - $step{$file} =~ /^[01]$/;
    $file = $next;
  }
  complain("the spine leads from step 1 to 13, not to: ", $chain[-1] // "none") unless @chain && $chain[0] =~ /^1 / && $chain[-1] =~ /^13 /;
  for (sort keys %step) { complain("$_ is not on the way from the reader to the writer") unless $seen{$_} }
  # Returns the lines of a section of ARCHITECTURE.md, up to the next heading.
  sub section {
    my ($heading) = @_;
    open(my $page, "<", "ARCHITECTURE.md") or die $!;
    my @lines;
    my $inside;
    while (my $line = <$page>) {
      if ($line =~ /^#+ (.*?)\s*$/) { $inside = $1 eq $heading } elsif ($inside) { push @lines, $line }
    }
    complain("ARCHITECTURE.md has no section $heading") unless @lines;
    return @lines;
  }
  my @table = map { my ($n, $files) = /^\| (\d+) \| ([^|]*)/ ? ($1, $2) : (); $n ? map { "$n $_" } $files =~ /`([^`]+)`/g : () }
    section("The path of a message");
  complain("ARCHITECTURE.md lists\n  ", join("\n  ", @table), "\nand the files\n  ", join("\n  ", @chain)) unless "@table" eq "@chain";

  my ($last, %listed) = (1);
  for (section("Files on the path")) {
    my ($n, $file) = /^\| (\d+) \| `([^`]+)` \| \S/ or next;
    complain("$file is listed twice") if $listed{$file}++;
    complain("$file: step $n stands behind step $last") if $n < $last;
    $last = $n;
    if (!open(my $in, "<", $file)) { complain("$file is on the path and does not exist") }
    else {
      my $doc = join " ", map { m{^//! ?(.*)} ? $1 : () } <$in>;
      complain("$file: its module doc does not name step $n of 13") unless $doc =~ /\bstep $n of 13\b/;
    }
  }
  my $files = keys %listed;
  complain("the steps end at $last") unless $last == 13;
  complain("a message passes $files files, more than 45") if $files > 45;

  my $queues = 0;
  for (section("Queues on the path")) {
    my ($file, @cells) = /^\| [^|`]+ \| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/ or next;
    $queues++;
    complain("$file has a queue and does not exist") unless -f $file;
    complain("$file: its queue has no metric") unless $cells[2] =~ /`[a-z_]+`/;
  }
  complain("$queues queues are listed, not 1 to 10") unless $queues >= 1 && $queues <= 10;
  print "spine: ", scalar(@chain), " files from the reader to the writer; a message passes $files files and $queues queues\n" unless $failed;
  exit($failed ? 1 : 0);
'
