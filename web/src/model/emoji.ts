// Emoji by name, for `:name:` and the picker.

const TABLE =
  "smile 😄 grin 😁 joy 😂 rofl 🤣 blush 😊 innocent 😇 wink 😉 heart_eyes 😍 kissing_heart 😘 yum 😋 tongue 😛 zany 🤪 sunglasses 😎 star_eyes 🤩 party 🥳 smirk 😏 neutral 😐 expressionless 😑 unamused 😒 roll_eyes 🙄 thinking 🤔 shush 🤫 hand_over_mouth 🤭 zipper 🤐 raised_eyebrow 🤨 relieved 😌 pensive 😔 sleepy 😪 sleeping 😴 drool 🤤 mask 😷 sick 🤒 nauseated 🤢 sneeze 🤧 hot 🥵 cold 🥶 dizzy 😵 mind_blown 🤯 cowboy 🤠 nerd 🤓 monocle 🧐 confused 😕 worried 😟 frown 🙁 open_mouth 😮 astonished 😲 flushed 😳 pleading 🥺 fearful 😨 cold_sweat 😰 cry 😢 sob 😭 scream 😱 disappointed 😞 sweat 😓 weary 😩 tired 😫 yawn 🥱 triumph 😤 angry 😠 rage 😡 swearing 🤬 devil 😈 skull 💀 poop 💩 clown 🤡 ghost 👻 alien 👽 robot 🤖 cat_smile 😺 see_no_evil 🙈 hear_no_evil 🙉 speak_no_evil 🙊 heart ❤️ orange_heart 🧡 yellow_heart 💛 green_heart 💚 blue_heart 💙 purple_heart 💜 black_heart 🖤 broken_heart 💔 sparkling_heart 💖 hundred 💯 boom 💥 sweat_drops 💦 dash 💨 zzz 💤 wave 👋 raised_hand ✋ vulcan 🖖 ok_hand 👌 pinch 🤏 victory ✌️ crossed_fingers 🤞 love_you 🤟 rock 🤘 call_me 🤙 point_left 👈 point_right 👉 point_up 👆 point_down 👇 thumbsup 👍 +1 👍 thumbsdown 👎 -1 👎 fist ✊ punch 👊 clap 👏 raised_hands 🙌 open_hands 👐 handshake 🤝 pray 🙏 writing ✍️ muscle 💪 brain 🧠 eyes 👀 eye 👁️ lips 👄 baby 👶 shrug 🤷 facepalm 🤦 bow 🙇 walking 🚶 running 🏃 dancer 💃 family 👪 dog 🐶 cat 🐱 mouse 🐭 rabbit 🐰 fox 🦊 bear 🐻 panda 🐼 tiger 🐯 lion 🦁 cow 🐮 pig 🐷 frog 🐸 monkey 🐵 chicken 🐔 penguin 🐧 bird 🐦 owl 🦉 rook 🐦‍⬛ unicorn 🦄 bee 🐝 bug 🐛 butterfly 🦋 snail 🐌 turtle 🐢 snake 🐍 octopus 🐙 crab 🦀 fish 🐟 whale 🐳 tree 🌳 palm 🌴 cactus 🌵 four_leaf 🍀 rose 🌹 sunflower 🌻 mushroom 🍄 earth 🌍 moon 🌙 sun ☀️ cloud ☁️ rain 🌧️ snow ❄️ lightning ⚡ fire 🔥 rainbow 🌈 star ⭐ sparkles ✨ apple 🍎 banana 🍌 grapes 🍇 strawberry 🍓 avocado 🥑 bread 🍞 cheese 🧀 egg 🥚 burger 🍔 pizza 🍕 taco 🌮 sushi 🍣 noodles 🍜 icecream 🍦 cake 🍰 birthday 🎂 cookie 🍪 chocolate 🍫 popcorn 🍿 coffee ☕ tea 🍵 beer 🍺 beers 🍻 wine 🍷 champagne 🍾 soccer ⚽ basketball 🏀 trophy 🏆 medal 🏅 dice 🎲 game 🎮 art 🎨 music 🎵 guitar 🎸 mic 🎤 headphones 🎧 film 🎬 camera 📷 phone 📱 laptop 💻 keyboard ⌨️ bulb 💡 battery 🔋 wrench 🔧 hammer 🔨 gear ⚙️ link 🔗 lock 🔒 key 🔑 bell 🔔 mute 🔕 book 📖 books 📚 pencil ✏️ memo 📝 calendar 📅 chart 📈 pushpin 📌 paperclip 📎 scissors ✂️ mail 📧 package 📦 gift 🎁 balloon 🎈 tada 🎉 money 💰 gem 💎 car 🚗 bus 🚌 train 🚆 bike 🚲 plane ✈️ rocket 🚀 ship 🚢 house 🏠 castle 🏰 hospital 🏥 clock ⏰ hourglass ⏳ check ✅ cross ❌ warning ⚠️ stop 🛑 question ❓ exclamation ❗ plus ➕ recycle ♻️ flag 🏁 white_flag 🏳️ pirate 🏴‍☠️";

/** Pairs of a name and its emoji. */
export const EMOJI: readonly (readonly [string, string])[] = (TABLE.split(" ") as string[]).flatMap((name, i, all) =>
  i % 2 === 0 ? [[name, all[i + 1] as string] as const] : [],
);

const BY_NAME = new Map(EMOJI);

/** The first row of reactions. */
export const QUICK = ["👍", "❤️", "😂", "🎉"] as const;

/** Replaces each known `:name:`. */
export function withEmoji(text: string): string {
  return text.replace(/:([a-z0-9_+-]+):/g, (whole, name: string) => BY_NAME.get(name) ?? whole);
}

/** Returns emoji whose name has the letters, those that begin with them first. */
export function findEmoji(letters: string, limit: number): (readonly [string, string])[] {
  const found = EMOJI.filter(([name]) => name.includes(letters));
  return found.sort(([a], [b]) => Number(b.startsWith(letters)) - Number(a.startsWith(letters))).slice(0, limit);
}
