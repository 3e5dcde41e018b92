#!/usr/bin/env bash
# The spine, checked: the module docs of the files on a message's path name their step, the previous file and the next one,
# as in "Spine: step 3 of 13. Previous: `protocol: command`. Next: `node: session/actor/send`." The chain of `Next` from step 1
# to step 13 must match `Previous`, hold every file with such a line, and equal the table in ARCHITECTURE.md.
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
  open(my $page, "<", "ARCHITECTURE.md") or die $!;
  my @table = map { my ($n, $files) = /^\| (\d+) \| ([^|]*)/ ? ($1, $2) : (); $n ? map { "$n $_" } $files =~ /`([^`]+)`/g : () } <$page>;
  complain("ARCHITECTURE.md lists\n  ", join("\n  ", @table), "\nand the files\n  ", join("\n  ", @chain)) unless "@table" eq "@chain";
  print "spine: ", scalar(@chain), " files from the reader to the writer\n" unless $failed;
  exit($failed ? 1 : 0);
'
