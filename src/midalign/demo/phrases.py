"""The phrases of the demo corpus in six languages, written for it.

A record is the intent and one phrase per language, in the order of `corpus.DEMO_LOCALES`, separated by "|";
records end with ";". {person.1} asks for the second form of a value, {time!} for the value without the words in
front (see `words`). The word before "_" in an intent is its scenario.
"""

COMMANDS = """
alarm_set|wake me up {time} {date}|weck mich {date} {time}|despiértame {date} {time}|
{date} {time} beni uyandır|
разбуди меня {date} {time}|ξύπνα με {date} {time};
alarm_set|set an alarm for {time!}|stell den wecker auf {time!}|pon una alarma {time}|{time} alarm kur|
поставь будильник на {time!}|βάλε ξυπνητήρι {time};
alarm_remove|cancel my alarm {date}|lösch meinen wecker {date}|cancela mi alarma {date}|
{date} alarmımı iptal et|
отмени мой будильник {date}|ακύρωσε το ξυπνητήρι μου {date};
calendar_set|put {event_name} in my calendar {date} {time}|
trag {event_name} {date} {time} in meinen kalender ein|
apunta {event_name} en mi agenda {date} {time}|{event_name} {date} {time} takvimime ekle|
запиши {event_name} в мой календарь {date} {time}|γράψε {event_name} στο ημερολόγιό μου {date} {time};
calendar_set|remind me {date} of {event_name} with {person.2}|
erinner mich {date} an {event_name} mit {person.2}|
recuérdame {date} {event_name} con {person.2}|{date} {person.2} {event_name} bana hatırlat|
напомни мне {date} про {event_name} с {person.2}|θύμισέ μου {date} {event_name} με {person.2};
calendar_query|when is {event_name.1} with {person.2}|wann ist {event_name.1} mit {person.2}|
cuándo es {event_name.1} con {person.2}|{person.2} {event_name.1} ne zaman|когда будет {event_name.1} с {person.2}|
πότε είναι {event_name.1} με {person.2};
calendar_query|what are my plans {date}|was habe ich {date} vor|qué planes tengo {date}|{date} ne planım var|
какие у меня планы {date}|τι σχέδια έχω {date};
calendar_remove|cancel {event_name} {date}|sag {event_name} {date} ab|cancela {event_name} {date}|
{date} {event_name} iptal et|отмени {event_name} {date}|ακύρωσε {event_name} {date};
weather_query|what will the weather be like in {place_name} {date}|wie wird das wetter {date} in {place_name}|
qué tiempo hará {date} en {place_name}|{date} {place_name} hava nasıl olacak|
какая погода будет {date} в {place_name}|τι καιρό θα κάνει {date} {place_name};
weather_query|will it be {weather_descriptor} in {place_name} {date}|
wird es {date} in {place_name} {weather_descriptor}|estará {weather_descriptor} {date} en {place_name}|
{date} {place_name} hava {weather_descriptor} olacak mı|будет ли {date} {weather_descriptor} в {place_name}|
θα είναι {weather_descriptor} ο καιρός {place_name} {date};
weather_query|tell me when it will be {weather_descriptor} in {place_name}|
sag mir wann es in {place_name} {weather_descriptor} wird|
dime cuándo estará {weather_descriptor} en {place_name}|
{place_name} hava ne zaman {weather_descriptor} olacak söyle|
скажи когда в {place_name} будет {weather_descriptor}|
πες μου πότε θα είναι {weather_descriptor} ο καιρός {place_name};
transport_query|how do i get to {place_name.1}|wie komme ich nach {place_name.1}|cómo llego a {place_name.1}|
{place_name.1} nasıl giderim|как мне попасть в {place_name.1}|πώς πάω {place_name};
transport_query|when does the next train to {place_name.1} leave {date}|
wann fährt {date} der nächste zug nach {place_name.1}|cuándo sale {date} el próximo tren a {place_name.1}|
{date} {place_name.1} sonraki tren ne zaman|когда {date} следующий поезд в {place_name.1}|
πότε φεύγει {date} το επόμενο τρένο {place_name.1};
transport_ticket|book a train ticket to {place_name.1} {date}|
buch mir {date} eine fahrkarte nach {place_name.1}|
reserva un billete de tren a {place_name.1} {date}|{date} {place_name.1} tren bileti al|
купи билет на поезд в {place_name.1} {date}|κλείσε ένα εισιτήριο τρένου {place_name.1} {date};
call_person|call {person}|ruf {person} an|llama {person}|{person} ara|позвони {person}|κάλεσε {person};
call_person|call {person} {date} {time}|ruf {date} {time} {person} an|llama {person} {date} {time}|
{date} {time} {person} ara|позвони {person} {date} {time}|κάλεσε {person} {date} {time};
message_send|send a message to {person.1}|schick {person.1} eine nachricht|envía un mensaje {person.1}|
{person.1} mesaj gönder|отправь сообщение {person.1}|στείλε μήνυμα {person.1};
message_send|write to {person.1} that i am coming {date}|schreib {person.1} dass ich {date} komme|
escribe {person.1} que llego {date}|{person.1} {date} geleceğimi yaz|напиши {person.1} что я приеду {date}|
γράψε {person.1} ότι έρχομαι {date};
message_send|write to {person.1} that i am making {food_type}|schreib {person.1} dass ich {food_type} mache|
escribe {person.1} que hago {food_type}|{person.1} {food_type} yaptığımı yaz|
напиши {person.1} что я готовлю {food_type}|γράψε {person.1} ότι φτιάχνω {food_type};
food_order|order {food_type} for {time!}|bestell {food_type} für {time!}|pide {food_type} {time}|
{time} {food_type} sipariş et|закажи {food_type} на {time!}|παράγγειλε {food_type} {time};
food_recipe|find a recipe for {food_type}|such ein rezept für {food_type}|busca una receta de {food_type}|
{food_type} tarifi bul|найди рецепт {food_type.1}|βρες μια συνταγή για {food_type};
food_recipe|what do i need for {food_type} {date}|was brauche ich {date} für {food_type}|
qué necesito {date} para {food_type}|{date} {food_type} için ne gerekiyor|что мне нужно {date} для {food_type.1}|
τι χρειάζομαι {date} για {food_type};
home_on|turn on {device_type} {house_place}|mach {device_type} {house_place} an|
enciende {device_type} {house_place}|
{house_place} {device_type} aç|включи {device_type} {house_place}|άναψε {device_type} {house_place};
home_on|start {device_type} {time}|starte {device_type} {time}|pon en marcha {device_type} {time}|
{time} {device_type} çalıştır|запусти {device_type} {time}|ξεκίνα {device_type} {time};
home_off|turn off {device_type} {house_place}|mach {device_type} {house_place} aus|
apaga {device_type} {house_place}|
{house_place} {device_type} kapat|выключи {device_type} {house_place}|σβήσε {device_type} {house_place};
home_off|turn off {device_type} {time}|schalte {device_type} {time} aus|apaga {device_type} {time}|
{time} {device_type} kapat|выключи {device_type} {time}|σβήσε {device_type} {time};
music_play|play the song {song_name}|spiel das lied {song_name}|pon la canción {song_name}|
{song_name} şarkısını çal|
включи песню {song_name}|παίξε το τραγούδι {song_name};
music_play|play {song_name} {house_place.1}|spiel {song_name} {house_place.1}|pon {song_name} {house_place.1}|
{house_place.1} {song_name} çal|поставь {song_name} {house_place.1}|βάλε {song_name} {house_place.1};
music_like|i like the song {song_name}|ich mag das lied {song_name}|me gusta la canción {song_name}|
{song_name} şarkısını seviyorum|мне нравится песня {song_name}|μου αρέσει το τραγούδι {song_name};
list_add|add {food_type} to my {list_name}|setz {food_type} auf meine {list_name}|
añade {food_type} a mi {list_name}|
{list_name} {food_type} ekle|добавь {food_type} в мой {list_name}|πρόσθεσε {food_type} στη {list_name} μου;
list_show|show me my {list_name.1}|zeig mir meine {list_name.1}|muéstrame mi {list_name.1}|
{list_name.1} göster|
покажи мне мой {list_name.1}|δείξε μου τη {list_name.1} μου;
list_send|send my {list_name.1} to {person.1}|schick {person.1} meine {list_name.1}|
envía mi {list_name.1} {person.1}|{list_name.1} {person.1} gönder|отправь {person.1} мой {list_name.1}|
στείλε τη {list_name.1} μου {person.1};
news_query|tell me the news about {news_topic}|sag mir die nachrichten über {news_topic}|
dime las noticias sobre {news_topic}|bana {news_topic} hakkında haberleri söyle|
расскажи мне новости {news_topic}|
πες μου τα νέα για {news_topic};
news_query|send me the news about {news_topic} {time}|schick mir {time} die nachrichten über {news_topic}|
envíame {time} las noticias sobre {news_topic}|{time} bana {news_topic} hakkında haberleri gönder|
пришли мне {time} новости {news_topic}|στείλε μου {time} τα νέα για {news_topic};
news_query|what is new in {place_name}|was gibt es neues in {place_name}|qué hay de nuevo en {place_name}|
{place_name} yeni ne var|что нового в {place_name}|τι νέα υπάρχουν {place_name};
general_clock|what time is it|wie spät ist es|qué hora es|saat kaç|который час|τι ώρα είναι;
general_volume|turn the volume up|mach lauter|sube el volumen|sesi yükselt|сделай громче|δυνάμωσε τον ήχο;
general_joke|tell me a joke|erzähl mir einen witz|cuéntame un chiste|bana bir fıkra anlat|расскажи мне шутку|
πες μου ένα ανέκδοτο;
general_stop|stop the music now|stopp jetzt die musik|para ya la música|müziği şimdi durdur|
останови сейчас музыку|
σταμάτα τώρα τη μουσική;
general_help|what can you do|was kannst du|qué sabes hacer|ne yapabilirsin|что ты умеешь|τι μπορείς να κάνεις;
"""

# Never labelled and never paired: more plain text around the same words.
STATEMENTS = """
plain|i will be in {place_name} {date}|ich bin {date} in {place_name}|estaré en {place_name} {date}|
{date} {place_name} olacağım|я буду {date} в {place_name}|θα είμαι {place_name} {date};
plain|i am making {food_type} with {person.2}|ich mache {food_type} mit {person.2}|
hago {food_type} con {person.2}|
{person.2} {food_type} yapıyorum|я готовлю {food_type} с {person.2}|φτιάχνω {food_type} με {person.2};
plain|{date} we are going to {place_name.1} with {person.2}|
{date} fahren wir mit {person.2} nach {place_name.1}|
{date} vamos a {place_name.1} con {person.2}|{date} {person.2} {place_name.1} gidiyoruz|
{date} мы едем в {place_name.1} с {person.2}|{date} ταξιδεύουμε {place_name.1} με {person.2};
plain|{time} we eat {food_type} {house_place.1}|{time} essen wir {food_type} {house_place.1}|
{time} comemos {food_type} {house_place.1}|{time} {house_place.1} {food_type} yiyoruz|
{time} мы едим {food_type} {house_place.1}|{time} τρώμε {food_type} {house_place.1};
plain|i need {device_type} {house_place.1} {date}|ich brauche {date} {device_type} {house_place.1}|
necesito {device_type} {house_place.1} {date}|{date} {house_place.1} {device_type} arıyorum|
я ищу {device_type} {house_place.1} {date}|χρειάζομαι {device_type} {house_place.1} {date};
plain|in {place_name} we hear {song_name} {time}|{time} hören wir {song_name} in {place_name}|
{time} escuchamos {song_name} en {place_name}|{time} {place_name} {song_name} dinliyoruz|
{time} мы слушаем {song_name} в {place_name}|{time} ακούμε {song_name} {place_name};
plain|we read about {news_topic} {date}|wir lesen {date} über {news_topic}|leemos sobre {news_topic} {date}|
{date} {news_topic} hakkında okuyoruz|{date} мы читаем {news_topic}|διαβάζουμε για {news_topic} {date};
"""
